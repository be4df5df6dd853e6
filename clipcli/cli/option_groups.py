"""Let commands take groups of options, while Typer sees one parameter per option."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from clipcli.cli.command_classes import HELP_ALL, HelpAllOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
