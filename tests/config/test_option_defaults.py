"""Where an option's value comes from: command line, environment, config file, program, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest
from run import run

from clipcli.config.option_defaults import file_defaults

OPTIONS = {
    "classify": frozenset({"model", "prompts", "workers", "format", "precision", "weights_dir"}),
    "rank": frozenset({"model", "prompts"}),
    "models export": frozenset({"dtype", "weights_dir"}),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it, where the test stands."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    return tmp_path


def asked_for(*arguments: str) -> str:
    """The model that a run wants; none of these exists."""
    result = run("classify", "x.png", "-l", "a,b", *arguments)
    assert result.code == 5
    return result.stderr.partition("no model '")[2].partition("'")[0]


def test_the_order_of_sources(place: Path, monkeypatch):
    (place / "clipcli.toml").write_text('model = "from-file"\n', encoding="utf-8")
    assert asked_for() == "from-file"
    monkeypatch.setenv("CLIPCLI_MODEL", "from-environment")
    assert asked_for() == "from-environment"
    assert asked_for("-m", "from-line") == "from-line"


def test_pyproject_counts_too(place: Path):
    (place / "pyproject.toml").write_text('[tool.clipcli]\nmodel = "from-pyproject"\n', encoding="utf-8")
    assert asked_for() == "from-pyproject"


def test_verbose_says_which_file_set_what(place: Path):
    (place / "clipcli.toml").write_text('model = "from-file"\nworkers = 2\n', encoding="utf-8")
    said = run("classify", "x.png", "-l", "a,b", "-v").stderr
    assert "clipcli: defaults of ../clipcli.toml: model = from-file, workers = 2\n" in said
    assert "defaults of" not in run("classify", "x.png", "-l", "a,b").stderr


def test_a_broken_file_is_named_but_help_still_comes(place: Path):
    (place / "clipcli.toml").write_text('modle = "x"\n', encoding="utf-8")
    result = run("classify", "x.png", "-l", "a,b")
    assert result.code == 4
    assert "clipcli.toml:1: unknown key 'modle'" in result.stderr
    assert "did you mean 'model'?" in result.stderr
    assert run("classify", "--help").code == 0
    assert run("--version").code == 0


def test_a_broken_file_is_no_matter_where_another_is_named(place: Path):
    Path("clipcli.toml").write_text('modle = "x"\n', encoding="utf-8")
    other = place / "other.toml"
    other.write_text('[checks.a]\ninclude = "*.none"\nduplicates = "exact"\n', encoding="utf-8")
    assert "no image matches include" in run("check", "--config", other).stderr
    assert "unknown key 'modle'" in run("check").stderr


def test_only_what_a_command_has_and_means_the_same(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIPCLI_CONFIG", "../clipcli.toml")  # a file that is named may say where weights are
    (place / "clipcli.toml").write_text(
        'model = "m"\nprompts = ["plain", "mine.txt"]\nprecision = "bf16"\nweights_dir = "weights"\n', encoding="utf-8"
    )
    (place / "mine.txt").write_text("{}\n", encoding="utf-8")
    found = file_defaults(OPTIONS, verbose=False)
    assert found["classify"] == {
        "model": "m", "precision": "bf16", "weights_dir": "../weights", "prompts": ["plain", "../mine.txt"]
    }  # fmt: skip
    assert found["rank"] == {"model": "m"}
    assert file_defaults({"check": frozenset({"model"})}, verbose=False) == {}
    assert found["models export"] == {"weights_dir": "../weights"}


@pytest.mark.thorough
@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_default_format_gives_way_to_a_name(place: Path, monkeypatch, source: str):
    if source == "file":
        (place / "clipcli.toml").write_text('format = "jsonl"\n', encoding="utf-8")
    else:
        monkeypatch.setenv("CLIPCLI_FORMAT", "jsonl")
    assert run("prompts", "list").stdout.startswith("{")
    rows = run("doctor").stdout
    assert rows.startswith('{"area": "version"')
    assert run("doctor", "--format", "tsv").stdout.startswith("version\t")
    assert run("doctor", "-o", "out.csv").code in {0, 5}
    assert Path("out.csv").read_text(encoding="utf-8").startswith("area,name")
    assert "{" not in run("prompts", "list", "--paths").stdout


def test_prompts_of_the_file_are_used(place: Path, random_model: str, folder: Path):
    (place / "clipcli.toml").write_text('prompts = ["no-such-set"]\n', encoding="utf-8")
    result = run("classify", folder, "-l", "disc,square", "-m", random_model)
    assert result.code == 4
    assert "no prompts called 'no-such-set'" in result.stderr
    assert run("classify", folder, "-l", "disc,square", "-m", random_model, "-p", "plain").code == 0
