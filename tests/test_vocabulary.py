"""One vocabulary: an option means the same wherever it stands, and its variable has its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import typer
from run import run

from clipcli.cli.app import app
from clipcli.config.option_defaults import VARIABLES, variable_of
from clipcli.runs import classify

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD = {
    "rank": ("--top", "--expect"),
    "dedupe": ("--turns", "--fail-found"),
    "embed": ("--raw", "--on"),
    "calibrate": ("--precision-target",),
}
FORMATS_OF_VECTORS = {"embed", "merge"}
ITS_OWN_DEFAULT = {("check", "--model")}
"""The checks of the file name models first."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and verb by name."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        verbs = getattr(command, "commands", None)
        if verbs is None:
            yield name, command
        else:
            yield from ((f"{name} {verb}", inner) for verb, inner in verbs.items())


def options() -> Iterator[tuple[str, str, Any]]:
    """Command, option and parameter of every option with a long name."""
    for name, command in commands():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and not parameter.hidden:
                    yield name, option, parameter


def test_every_variable_of_ours_is_the_default_of_the_option_of_its_name():
    ours = {each.name for each in VARIABLES if each.name.startswith("CLIPCLI_")}
    assert ours <= {variable_of(option) for _, option, _ in options()}
    meanings = {each.name: each.meaning for each in VARIABLES}
    for name in ours:
        option = "--" + name.removeprefix("CLIPCLI_").lower().replace("_", "-")
        assert meanings[name].startswith(f"default of `{option}`"), name


def test_an_option_with_a_variable_has_it_in_every_command():
    ours = {each.name for each in VARIABLES}
    for command, option, parameter in options():
        if (command in FORMATS_OF_VECTORS and option == "--format") or (command, option) in ITS_OWN_DEFAULT:
            continue
        if option == "--config":  # read by its variable for every command
            continue
        expected = variable_of(option) if variable_of(option) in ours and option in parameter.opts[:1] else None
        assert parameter.envvar == expected, (command, option)


def test_a_short_letter_means_one_thing():
    meanings: dict[str, set[str]] = {}
    for _, command in commands():
        for parameter in command.params:
            for short in (each for each in parameter.opts if len(each) == 2):
                meanings.setdefault(short, set()).add(next(each for each in parameter.opts if each[:2] == "--"))
    assert {short: sorted(names) for short, names in meanings.items() if len(names) > 1} == {}


@pytest.mark.parametrize(("command", "option"), [(name, option) for name in OLD for option in OLD[name]])
def test_old_names_are_gone(command: str, option: str):
    result = run(command, "x.png", option, "y")
    assert result.code == 2
    assert f"No such option: {option}" in result.stderr


@pytest.mark.parametrize("command", ["index", "check"])
@pytest.mark.parametrize("option", ["--batch-size", "--workers", "--fast-decode", "--gpu-decode"])
def test_options_without_a_meaning_are_not_offered(command: str, option: str):
    assert option not in {name for of, name, _ in options() if of == command}


def test_an_index_needs_no_model_and_no_cache():
    offered = {name for of, name, _ in options() if of == "index"}
    assert offered == {"--output", "--recall", "--quiet", "--verbose", "--help-all"}


@pytest.mark.parametrize(
    ("option", "value", "variable"),
    [("--cache-dir", "{}", "CLIPCLI_CACHE_DIR"), ("--cache-max-size", "700M", "CLIPCLI_CACHE_MAX_SIZE"),
     ("--cache-dtype", "float16", "CLIPCLI_CACHE_DTYPE"), ("--remote-timeout", "7", "CLIPCLI_REMOTE_TIMEOUT"),
     ("--auto-export", None, "CLIPCLI_AUTO_EXPORT")],
)  # fmt: skip
def test_options_that_lower_layers_read_as_variables(tmp_path, monkeypatch, option: str, value: str, variable: str):
    seen: list[str | None] = []

    def instead(*_: object, **__: object) -> None:
        seen.append(os.environ.get(variable))
        raise KeyboardInterrupt

    monkeypatch.setattr(classify, "plan_command", instead)
    before = os.environ.get(variable)
    given = () if value is None else (value.format(tmp_path),)
    assert run("classify", "x.png", "-l", "a,b", option, *given).code == 130
    assert seen == [given[0] if given else "1"]
    assert os.environ.get(variable) == before


def test_a_cache_folder_can_be_named(tmp_path):
    said = run("cache", "info", "--cache-dir", tmp_path / "mine").stderr
    assert said.startswith(f"clipcli: {tmp_path / 'mine'}")
