"""Help on one screen and under headings; options convert on demand, and as by Typer's own converters."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from run import run, run_script
from typer.main import get_command

from clipcli.cli.app import app
from clipcli.cli.command_classes import ConversionOnDemand

ROOT = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {}
for _name, _command in ROOT.commands.items():  # type: ignore[attr-defined]
    COMMANDS[_name] = _command
    COMMANDS.update({f"{_name} {verb}": inner for verb, inner in getattr(_command, "commands", {}).items()})
LEAVES = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


def help_of(name: str, option: str = "--help") -> list[str]:
    result = run(*name.split(), option)
    assert result.code == 0
    return result.stdout.splitlines()


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(name: str):
    lines = help_of(name)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and "[" not in line and "MODEL" not in line]


@pytest.mark.parametrize("name", LEAVES)
def test_help_names_the_way_to_the_rest_and_that_shows_every_option(name: str):
    assert any(line.strip().startswith("--help-all ") for line in help_of(name))
    everything = "\n".join(help_of(name, "--help-all"))
    for parameter in LEAVES[name].params:
        if not parameter.hidden:
            assert parameter.opts[0] in everything or parameter.param_type_name == "argument"
            words = re.sub(r"\W", "", str(parameter.help))
            assert words in re.sub(r"\W", "", everything), parameter.name


@pytest.mark.parametrize("name", LEAVES)
def test_everyday_options_exist(name: str):
    names = {parameter.name for parameter in LEAVES[name].params}
    assert set(getattr(LEAVES[name].callback, "everyday", ())) <= names


@pytest.mark.parametrize("name", ["", *(name for name in COMMANDS if " " not in name)])
def test_examples_can_be_copied(name: str):
    lines = help_of(name)
    examples = lines[lines.index("Examples:") + 1 :]
    assert examples
    for line in examples:
        for part in re.split(r" (?:\||&&|>) ", line):
            words = shlex.split(part, comments=True)
            if words[0] == "clipcli" and not words[-1].startswith("--help"):
                command, arguments = COMMANDS[words[1]], words[2:]
                if hasattr(command, "commands"):
                    command, arguments = command.commands[words[2]], words[3:]
                command.make_context(command.name, arguments)  # what is no option of it raises


def test_all_options_stand_under_headings():
    lines = help_of("classify", "--help-all")
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Arguments:", "Inputs:", "Labels and prompts:", "Scores and answers:", "Checks for CI:", "Model and device:",
        "Output:", "Reports:", "Cache, verbosity and performance:", "Options:", "Examples:",
    ]  # fmt: skip
    under = {line.split()[-1]: heading for heading, line in _with_heading(lines, headings) if " --model" in line}
    assert set(under.values()) == {"Model and device:"}


def test_arguments_have_no_python_types():
    for name in ("classify", "models info"):
        assert "<" not in "".join(help_of(name))


def test_facts_are_said_in_words():
    shown = " ".join(" ".join(help_of("classify", "--help-all")).split())
    assert "[env var: CLIPCLI_BATCH_SIZE; default: depends on the device; at least 1]" in shown
    assert "[-1.0 to 1.0]" in shown
    assert "x>=" not in shown


def test_help_comes_where_the_config_file_is_broken(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "clipcli.toml").write_text("nonsense", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for option in ("--help", "--help-all", "-h"):
        assert run("embed", "x.png", option).code == 0


def _with_heading(lines: list[str], headings: list[str]):
    heading = ""
    for line in lines:
        heading = line if line in headings else heading
        yield heading, line


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
