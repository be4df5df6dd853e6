"""`--help` of a command in sections: the options of a group stand under what the group says of itself."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_ARGUMENTS, _OTHERS = "Arguments", "Options"


class Sectioned(TyperCommand):
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
