"""Typer's command and group, with groups of options, help on one screen and fast option parsing.

A command takes one dataclass per group of options; Typer sees one parameter per option. `--help` shows the everyday
options, `--help-all` every option by section. Typer 0.29 imports pydantic to convert options, 60 ms of each start;
values that need no conversion skip it.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PLAIN = (str, int, float, bool)
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
"""The usual values of environment variables of flags."""


class ConversionOnDemand:
    """Stands in for an option's converter until a value comes that has another type than the option.

    Strings for options of strings, flags, defaults and missing values pass; anything else is left to Typer's own
    converter, which also checks ranges and choices of what a user gave.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as Typer would. Raises BadParameter as Typer does."""
        is_list = param.multiple or param.nargs == -1
        if value is None:
            return () if is_list else None
        annotation = param.type_descriptor.annotation
        if annotation == list[str] and isinstance(value, (list, tuple)) and all(type(item) is str for item in value):
            return list(value)
        if not is_list and annotation in _PLAIN and type(value) is annotation:
            return value
        if not is_list and annotation is bool and isinstance(value, str) and value in _FLAGS:
            return _FLAGS[value]
        param._runtime_param = None  # noqa: SLF001 - Typer builds its own at the next call
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


class DemandConversion:
    """A mixin for Typer's commands and groups: their parameters convert on demand, where Typer has such converters."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters, `--help` among them."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "_runtime_param", parameter) is None and hasattr(parameter, "get_runtime_param"):
                parameter._runtime_param = ConversionOnDemand()  # noqa: SLF001 - there is no public way
        return parameters


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


class SectionedCommand(DemandConversion, TyperCommand):
    """A command that shows its everyday options first.

    The callback's `everyday` lists the parameters of `--help` in order (empty means all), and its `sections` maps each
    parameter to its heading in `--help-all`.
    """

    @property
    def everyday(self) -> tuple[str, ...]:
        """Return the names of the parameters in `--help`."""
        return getattr(self.callback, "everyday", ())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `-labels` as `--labels`, since nobody means `-l abels`."""
        known_options = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [_with_two_dashes(word, known_options) for word in args[:end]] + args[end:])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, and the everyday options or all options by section."""
        parameters = self.get_params(ctx)
        arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
        _write(formatter, "Arguments", (_argument(parameter, ctx) for parameter in arguments))
        options = {parameter.name: parameter for parameter in parameters if parameter.param_type_name == "option"}
        if ctx.meta.get(_ALL) or not self.everyday:
            self._write_sections(ctx, formatter, list(options.values()))
        else:
            everyday_options = [options[name] for name in (*self.everyday, "help", HELP_ALL) if name in options]
            _write(formatter, "Options", (_everyday(parameter, ctx) for parameter in everyday_options))

    def _write_sections(self, ctx: Any, formatter: Any, options: list[Any]) -> None:
        headings: dict[str, str] = getattr(self.callback, "sections", {}) if ctx.meta.get(_ALL) else {}
        sections: dict[str, list[Any]] = {}
        for option in options:
            sections.setdefault(headings.get(option.name, "Options"), []).append(option)
        other_options = sections.pop("Options", [])
        record = _full if ctx.meta.get(_ALL) else _everyday
        for heading, members in (*sections.items(), ("Options", other_options)):
            _write(formatter, heading, (record(option_in_section, ctx) for option_in_section in members))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the examples, one per line, ready to copy."""
        write_examples(formatter, self.epilog)


class SectionedGroup(DemandConversion, TyperGroup):
    """A group of subcommands, whose summaries are shown in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each subcommand with its summary."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        _write(formatter, "Commands", ((name, str(verb.help).partition("\n")[0]) for name, verb in verbs if verb))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the examples, one per line, ready to copy."""
        write_examples(formatter, self.epilog)


def _with_two_dashes(word: str, known: set[str]) -> str:
    name, equals, value = word.partition("=")
    return f"-{name}{equals}{value}" if len(name) > 2 and f"-{name}" in known else word  # noqa: PLR2004 - `-x`


def write_examples(formatter: Any, examples: str | None) -> None:
    """Write command lines without wrapping, so that they can be copied."""
    if examples:
        formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in examples.splitlines()))


def _show_all(context: typer.Context, show_all: bool) -> None:
    if show_all and not context.resilient_parsing:
        context.meta[_ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


HelpAllOption = Annotated[
    bool, typer.Option("--help-all", is_eager=True, callback=_show_all, help="Show all options in full and exit.")
]
"""The option `--help-all` of every command."""


def _write(formatter: Any, heading: str, records: Iterable[tuple[str, str] | None]) -> None:
    rows = [record for record in records if record is not None]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=26)


def _argument(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(ctx)
    return record and (record[0].partition(" <")[0], record[1])  # without the Python type


def _full(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the record of an option with its default and environment variable."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show the everyday options and exit."
    record = parameter.get_help_record(ctx)
    return record and (record[0], _in_words(record[1]))


def _in_words(text: str) -> str:
    """Return Typer's help text with the facts in brackets in plain words."""
    for pattern, words in _FACTS.items():
        text = pattern.sub(words, text)
    return text


def _everyday(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the record of an option with the first sentence of its help and its default."""
    if parameter.name == "help":
        return parameter.get_help_record(ctx)[0], "Show this help and exit."
    record = _full(parameter, ctx)
    if record is None:
        return None
    sentence, bracket, facts = record[1].partition(" [")
    facts = _RANGE.sub("", _ENVIRONMENT.sub("", bracket + facts))
    first, end, _ = sentence.partition(". ")
    return record[0], first + ("." if end else "") + ("" if facts in {" []", " [default: auto]"} else facts)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take option groups: each field of a group becomes a parameter that Typer sees.

    The command keeps one parameter per group, whatever the number of options in it; `--help-all` is added.
    """
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    flat: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            flat += _parameters(groups[name])
        else:
            flat.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    flat.append(inspect.Parameter(HELP_ALL, inspect.Parameter.KEYWORD_ONLY, annotation=HelpAllOption, default=False))

    def run(**arguments: Any) -> None:
        arguments.pop(HELP_ALL, None)
        groups_by_name = {
            name: group(**{f.name: arguments.pop(f.name) for f in fields(group)}) for name, group in groups.items()
        }
        command(**groups_by_name, **arguments)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.sections = _sections(groups.values())  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    run.__signature__ = signature.replace(parameters=flat, return_annotation=None)  # type: ignore[attr-defined]
    return run


def _sections(groups: Iterable[type]) -> dict[str, str]:
    """Return the heading that each option stands under in `--help`: the first line of its group's docstring."""
    return {
        field.name: (group.__doc__ or "").partition("\n")[0].rstrip(".") for group in groups for field in fields(group)
    }


@cache
def _parameters(group: type) -> tuple[inspect.Parameter, ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(group)
    )  # fmt: skip
