"""`--help` on one screen, and `--help-all` with every option under a heading."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL = "clipcli.help_all"
_ENVIRONMENT = re.compile(r"\[env var: \w+(?:; )?")
_NO_VALUE = re.compile(r"\[default: \((.*)\)")


class SectionedCommand(TyperCommand):
    """A command that shows its everyday options first.

    Its callback says in `everyday` which parameters `--help` shows, in this order (none of them means all), and in
    `sections` under which heading each parameter stands in `--help-all`.
    """

    @property
    def everyday(self) -> tuple[str, ...]:
        """Names of the parameters of `--help`."""
        return getattr(self.callback, "everyday", ())

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, and `--help-all`."""
        return [*super().get_params(ctx), _help_all(hidden=not self.everyday)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and everyday options; or arguments and all options by section."""
        parameters = self.get_params(ctx)
        arguments = [each for each in parameters if each.param_type_name == "argument"]
        _write(formatter, "Arguments", (_argument(each, ctx) for each in arguments))
        options = {each.name: each for each in parameters if each.param_type_name == "option"}
        if ctx.meta.get(_ALL) or not self.everyday:
            self._write_sections(ctx, formatter, list(options.values()))
        else:
            shown = [options[name] for name in (*self.everyday, "help", "help_all") if name in options]
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


def write_examples(formatter: Any, examples: str | None) -> None:
    """Write command lines as they are: a shell would not take one that is wrapped."""
    if examples:
        formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in examples.splitlines()))


def _help_all(*, hidden: bool) -> TyperOption:
    def show(ctx: Any, parameter: object, value: object) -> None:  # noqa: ARG001 - the library's signature
        if value and not ctx.resilient_parsing:
            ctx.meta[_ALL] = True
            print(ctx.get_help())  # noqa: T201 - as --help does
            ctx.exit()

    return TyperOption(
        param_decls=["--help-all"], is_flag=True, expose_value=False, is_eager=True, callback=show, hidden=hidden,
        help="Show all options and exit.",
    )  # fmt: skip


def _write(formatter: Any, heading: str, records: Iterable[tuple[str, str] | None]) -> None:
    rows = [record for record in records if record is not None]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=26)


def _argument(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(ctx)
    return record and (record[0].partition(" <")[0], record[1])  # the Python type behind it tells a user nothing


def _full(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """An option with its default, and the variable that sets it."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show the everyday options and exit."
    record = parameter.get_help_record(ctx)
    return record and (record[0], _NO_VALUE.sub(r"[default: \1", record[1]).replace("  [", " ["))


def _everyday(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """An option with its default; variables are for `--help-all`."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show this help and exit."
    record = _full(parameter, ctx)
    return record and (record[0], _ENVIRONMENT.sub("[", record[1]).replace(" []", ""))
