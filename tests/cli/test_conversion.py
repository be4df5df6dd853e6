"""Options convert on demand, and to what Typer's own converters make of a value."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from run import run_script
from typer.main import get_command

from clipcli.cli import app
from clipcli.cli.conversion import ConversionOnDemand

VALUES: tuple[object, ...] = (
    None, "", "x", " 5 ", "5", "-1", "0.5", "nan", "yes", "ja", "0", "1", "true", "false", "True", 5, 0.25, True, False,
    b"bytes", [], (), ["a", "b"], ("a", 1), [b"a"], "cat,dog", ["1", "x"],
)  # fmt: skip


def parameters() -> list[Any]:
    """All options and arguments, of the verbs of groups too."""
    root: Any = get_command(app)
    commands = [root, *(root.commands[name] for name in root.commands)]
    commands += [verb for command in commands[1:] for verb in getattr(command, "commands", {}).values()]
    found = [each for command in commands for each in command.get_params(typer.Context(command))]
    return [each for each in found if isinstance(getattr(each, "_runtime_param", None), ConversionOnDemand)]


def outcome(parameter: Any, value: object) -> object:
    try:
        return parameter.get_runtime_param().coerce(value, param=parameter, ctx=None)
    except typer.BadParameter as error:
        return ("refused", error.message)


def test_values_become_what_typer_makes_of_them():
    every = parameters()
    if not every:
        pytest.skip("this release of Typer has no converters of its own")
    assert len(every) > 200
    for parameter in every:
        is_plain = parameter.type_descriptor.annotation in {str, int, float, bool}
        for value in (*VALUES, parameter.default):
            if is_plain and type(value) in {int, float} and value != parameter.default:
                continue  # a user's words are strings; numbers are defaults, whose ranges need no check
            parameter._runtime_param = ConversionOnDemand()
            ours = outcome(parameter, value)
            parameter._runtime_param = None
            theirs = outcome(parameter, value)
            assert (repr(ours), type(ours)) == (repr(theirs), type(theirs)), (parameter.name, value)


@pytest.mark.thorough
def test_a_start_imports_no_pydantic():
    script = """
import sys
from clipcli.cli import app
try:
    app(["classify", "no-such.png", "-l", "cat,dog", "--model", "tiny", "--format", "tsv"], prog_name="clipcli")
except SystemExit:
    print("pydantic" in sys.modules)
"""
    assert run_script(script).stdout.splitlines()[-1] == "False"
