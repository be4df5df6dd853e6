"""`--help` on one screen, and `--help-all` with every option under a heading."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL = "clipcli.help_all"
HELP_ALL = "help_all"
"""The name of its parameter."""
_ENVIRONMENT = re.compile(r"(?<=\[)env var: \w+(?:; )?")
_FACTS = {
    re.compile(r"default: \(([^)]*)\)"): r"default: \1",  # it is no value
    re.compile(r"([\d.-]+)<=x<=([\d.]+)"): r"\1 to \2",
    re.compile(r"x>=([\d.]+)"): r"at least \1",
    re.compile(r"  \["): " [",
}
_RANGE = re.compile(r"(?:; )?(?:at least [\d.]+|-?[\d.]+ to [\d.]+)")


class SectionedCommand(TyperCommand):
    """A command that shows its everyday options first.

    Its callback says in `everyday` which parameters `--help` shows, in this order (none of them means all), and in
    `sections` under which heading each parameter stands in `--help-all`.
    """

    @property
    def everyday(self) -> tuple[str, ...]:
        """Names of the parameters of `--help`."""
        return getattr(self.callback, "everyday", ())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `-labels` as `--labels`: as letters it would mean `-l abels`, which nobody means."""
        known = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [_with_two_dashes(word, known) for word in args[:end]] + args[end:])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and everyday options; or arguments and all options by section."""
        parameters = self.get_params(ctx)
        arguments = [each for each in parameters if each.param_type_name == "argument"]
        _write(formatter, "Arguments", (_argument(each, ctx) for each in arguments))
        options = {each.name: each for each in parameters if each.param_type_name == "option"}
        if ctx.meta.get(_ALL) or not self.everyday:
            self._write_sections(ctx, formatter, list(options.values()))
        else:
            shown = [options[name] for name in (*self.everyday, "help", HELP_ALL) if name in options]
            _write(formatter, "Options", (_everyday(each, ctx) for each in shown))

    def _write_sections(self, ctx: Any, formatter: Any, options: list[Any]) -> None:
        headings: dict[str, str] = getattr(self.callback, "sections", {}) if ctx.meta.get(_ALL) else {}
        sections: dict[str, list[Any]] = {}
        for option in options:
            sections.setdefault(headings.get(option.name, "Options"), []).append(option)
        others = sections.pop("Options", [])
        record = _full if ctx.meta.get(_ALL) else _everyday
        for heading, members in (*sections.items(), ("Options", others)):
            _write(formatter, heading, (record(each, ctx) for each in members))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Examples, each on a line of its own, to be copied."""
        write_examples(formatter, self.epilog)


class SectionedGroup(TyperGroup):
    """A group of verbs, whose summaries are shown whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each verb and what it does."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        _write(formatter, "Commands", ((name, str(verb.help).partition("\n")[0]) for name, verb in verbs if verb))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Examples, each on a line of its own, to be copied."""
        write_examples(formatter, self.epilog)


def _with_two_dashes(word: str, known: set[str]) -> str:
    name, equals, value = word.partition("=")
    return f"-{name}{equals}{value}" if len(name) > 2 and f"-{name}" in known else word  # noqa: PLR2004 - `-x`


def write_examples(formatter: Any, examples: str | None) -> None:
    """Write command lines as they are: a shell would not take one that is wrapped."""
    if examples:
        formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in examples.splitlines()))


def _show_all(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        context.meta[_ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


HelpAllOption = Annotated[
    bool, typer.Option("--help-all", is_eager=True, callback=_show_all, help="Show all options in full and exit.")
]
"""Every command has it."""


def _write(formatter: Any, heading: str, records: Iterable[tuple[str, str] | None]) -> None:
    rows = [record for record in records if record is not None]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=26)


def _argument(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(ctx)
    return record and (record[0].partition(" <")[0], record[1])  # the Python type behind it tells a user nothing


def _full(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return an option with its default, and the variable that sets it."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show the everyday options and exit."
    record = parameter.get_help_record(ctx)
    return record and (record[0], _in_words(record[1]))


def _in_words(text: str) -> str:
    """Typer's facts in brackets, as people say them."""
    for pattern, words in _FACTS.items():
        text = pattern.sub(words, text)
    return text


def _everyday(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return an option, the first sentence about it, and its default: the rest is for `--help-all`."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show this help and exit."
    record = _full(parameter, ctx)
    if record is None:
        return None
    sentence, bracket, facts = record[1].partition(" [")
    facts = _RANGE.sub("", _ENVIRONMENT.sub("", bracket + facts))
    first, end, _ = sentence.partition(". ")
    return record[0], first + ("." if end else "") + ("" if facts in {" []", " [default: auto]"} else facts)
