"""The commands by name: all are listed at once, each is imported and built when it is asked for.

Typer builds every command that an app has, some 300 options, before it runs one; that was a third of each start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from clipcli.cli.help_sections import SectionedCommand, SectionedGroup, write_examples
from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

LISTED = {
    "classify": "Give each image the label that fits it best.",
    "embed": "Turn images and texts into vectors.",
    "rank": "Find images by words, by example, or both.",
    "score": "Score how well each image fits its own text.",
    "select": "Choose rows, and copy their samples.",
    "dedupe": "Find copies, near copies and look-alikes.",
    "apply": "Apply a plan from dedupe (default: dry run).",
    "undo": "Undo what apply did.",
    "index": "Build an index for millions of vectors.",
    "merge": "Join the parts of an embed run.",
    "check": "Run the checks in clipcli.toml.",
    "calibrate": "Find thresholds from labelled images.",
    "detect": "Find where labels are in images, as boxes.",
    "fit": "Learn labels from a few pictures of each.",
    "doctor": "Show what a bug report needs.",
    "models": "List, download, verify and export models.",
    "prompts": "List, show and check prompt templates.",
    "cache": "Show and clear the cache of vectors.",
}
"""What `clipcli --help` says of each; a module of `clipcli.cli.commands` with the same name has the rest."""


class LazyCommands(Mapping[str, Any]):
    """Name → command; a module with `COMMANDS` is a group of verbs, any other has a function of its own name."""

    def __init__(self, wrap: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
        self._wrap = wrap
        self._built: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(LISTED)

    def __len__(self) -> int:
        return len(LISTED)

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._build(name, LISTED[name])
        return self._built[name]

    def _build(self, name: str, line: str) -> Any:
        module = import_module(f"clipcli.cli.commands.{name}")
        alone = typer.Typer(
            name=name, help=line, cls=SectionedGroup, epilog="\n".join(module.EXAMPLES),
            no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        )  # fmt: skip
        verbs: dict[str, Callable[..., None]] | None = getattr(module, "COMMANDS", None)
        if verbs is None:
            wrapped = self._wrap(getattr(module, name))
            wrapped.everyday = getattr(module, "EVERYDAY", ())  # type: ignore[attr-defined]
            examples = "\n".join(module.EXAMPLES)
            alone.command(name, cls=SectionedCommand, short_help=line, epilog=examples)(wrapped)
            return typer.main.get_command(alone)
        for verb, function in verbs.items():
            alone.command(verb, cls=SectionedCommand)(self._wrap(function))
        return typer.main.get_group(alone)


@contextmanager
def _redacted_errors() -> Iterator[None]:
    """What the parser says of an argument repeats it, and it may be a URL with a password."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(said := getattr(error, "message", None), str):
            error.message = redact(said)  # type: ignore[attr-defined]
        raise


class LazyGroup(TyperGroup):
    """A group whose commands are `LazyCommands`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Names, in the order of the list."""
        return list(LISTED)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read the words before the command."""
        with _redacted_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's options, and run it."""
        with _redacted_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """The list for `--help`, for which no command is built."""
        with formatter.section("Commands"):
            formatter.write_dl(list(LISTED.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Examples, each on a line of its own, to be copied."""
        write_examples(formatter, self.epilog)
