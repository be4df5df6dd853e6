"""The commands by name: all are listed at once, each is imported and built when it is asked for.

Typer builds every command that an app has, some 300 options, before it runs one; that was a third of each start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clipcli.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS, _OTHERS = "Arguments", "Options"


class SectionedCommand(TyperCommand):
    """A command whose callback says, in `sections`, under which heading each parameter stands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then the sections in the order of their parameters, then what stands in none."""
        headings: dict[str, str] = getattr(self.callback, "sections", {})
        shown: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: []}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                name, _, _ = record[0].partition(" <")  # the Python type behind it tells a user nothing
                shown[_ARGUMENTS].append((name, record[1]))
            elif heading := headings.get(parameter.name or ""):
                shown.setdefault(heading, []).append(record)
            else:
                others.append(record)
        for heading, records in [*shown.items(), (_OTHERS, others)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


LISTED = {
    "classify": "Give each image the label that fits it best.",
    "embed": "Turn images and texts into vectors.",
    "rank": "Find images by words, by example, or both.",
    "dedupe": "Find copies, near copies and look-alikes.",
    "apply": "Do what a plan of dedupe says; dry run first.",
    "undo": "Bring back what apply changed.",
    "index": "Make an index for millions of vectors.",
    "merge": "Join the shards of one embed run.",
    "check": "Run the checks of clipcli.toml.",
    "calibrate": "Find thresholds from labelled images.",
    "doctor": "Show what a bug report needs.",
    "models": "List, fetch, check and export models.",
    "prompts": "List, show and check prompt templates.",
    "cache": "Look at and clear the cache of vectors.",
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
        alone = typer.Typer(name=name, help=line, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
        verbs: dict[str, Callable[..., None]] | None = getattr(module, "COMMANDS", None)
        if verbs is None:
            alone.command(name, cls=SectionedCommand, short_help=line, epilog=module.EPILOG)(
                self._wrap(getattr(module, name))
            )
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
        with formatter.section("LazyCommands"):
            formatter.write_dl(list(LISTED.items()))
