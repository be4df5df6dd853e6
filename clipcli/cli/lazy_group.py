"""The commands by name. They are listed without being imported; each is built when it is used.

Typer would build all commands of an app, with some 300 options, before running one, which took a third of each start.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from clipcli.cli.command_classes import DemandConversion, SectionedCommand, SectionedGroup, write_examples
from clipcli.core.console import printable
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
"""Command → summary in `clipcli --help`; the command is in the module of the same name in `clipcli.cli.commands`."""


class LazyCommands(Mapping[str, Any]):
    """Name → command. A module with `COMMANDS` is a group of subcommands; others have a function of the same name."""

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
    """Redact errors of the parser, which repeat arguments and so may contain a URL with a password."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
            error.message = redact(message)  # type: ignore[attr-defined]
        raise


class LazyGroup(DemandConversion, TyperGroup):
    """A group whose commands are `LazyCommands`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Return the names of the commands in order."""
        return list(LISTED)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the arguments before the command."""
        with _redacted_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's options, and run it."""
        with _redacted_errors():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a file or folder in its place is answered with the line that was meant."""
        if args and args[0] not in LISTED and os.path.exists(args[0]):  # noqa: PTH110 - any bytes
            line = printable(f"clipcli classify {shlex.join(args)} -l cat,dog")
            ctx.fail(f"{printable(args[0])!r} is a file or folder, not a command. Did you mean: {line}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the list of commands without building them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(LISTED.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the examples, one per line, ready to copy."""
        write_examples(formatter, self.epilog)
