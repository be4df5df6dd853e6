"""Values of options that need no conversion: Typer 0.29 imports pydantic for every option, 60 ms of each start."""

from __future__ import annotations

from typing import Any

_PLAIN = (str, int, float, bool)
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
"""What environment variables of flags mostly say."""


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
