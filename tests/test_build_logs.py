"""Names of files in the log of a build: text to the server that reads it, never a command."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from run import ROOT, run

from clipcli.core.console import disarm, disarm_log
from clipcli.output.reports.github import write_annotations
from clipcli.output.rows import dumps
from clipcli.output.writers import without_formula

yaml = pytest.importorskip("yaml", reason="the reader of YAML is a developer's package")
NAMES = [
    "::error::x.png", "a\n::stop-commands::x.png", "b\r::add-mask::x.png", "  ::set-output name=a::b.png",
    "\x1b[31mred.png", "##[add-path]x.png", "a ##vso[task.setvariable variable=x]b.png", "##teamcity[buildStop].png",
    "\u2028::error::y.png", "\x1b[0Ksection_start:1:a.png", "=cmd().png", "--offline.png", "\x85\x9b.png",
]  # fmt: skip
PIECES = ["::", "##", "[", "vso", "\n", "\r", " ", "\u2028", "a"]


def commands(log: str) -> list[str]:
    """What GitHub's, Azure's or TeamCity's server would obey, or a terminal."""
    lines = re.split(r"\r\n|\r|\n", log)
    found = [line for line in lines if line.strip().startswith("::") or re.search(r"##[\w.-]*\[", line)]
    return found + re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", log)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Pictures with such names, and files that are none."""
    picture = next(folder.rglob("*.png"))
    for number, name in enumerate(NAMES):
        if number % 2:
            (tmp_path / name).write_bytes(b"no picture")
        else:
            shutil.copy(picture, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "json", "table", "paths"])
def test_no_output_commands_the_server(here: Path, form: str):
    how = ("--paths",) if form == "paths" else ("--format", form)
    result = run("classify", *how, "-l", "a,b", "-m", "tiny", "--", *NAMES)
    assert result.code == 3
    assert commands(result.stdout) == []
    assert commands(result.stderr) == []
    if form == "jsonl":
        assert [row["image"] for row in result.rows] == NAMES


@pytest.mark.thorough
def test_paths_are_exact_where_they_end_with_nul(here: Path):
    result = run("classify", "--paths", "-0", "-l", "a,b", "-m", "tiny", "--", *NAMES)
    assert result.stdout.split("\0")[:-1] == NAMES[::2]


@pytest.mark.thorough
def test_a_file_is_exact(here: Path):
    run("classify", "-o", "out.csv", "-l", "a,b", "-m", "tiny", "--", *NAMES)
    with (here / "out.csv").open(newline="", encoding="utf-8") as stream:
        assert {row["image"] for row in csv.DictReader(stream)} == set(NAMES)


@pytest.mark.thorough
def test_vectors_and_plans_on_stdout(here: Path):
    for command in (("embed", "--format", "csv"), ("embed",), ("dedupe", "--format", "groups"), ("rank", "a")):
        result = run(*command, "-m", "tiny", "--", *NAMES)
        assert commands(result.stdout) == [], command
        assert commands(result.stderr) == [], command


def test_outside_of_ci_names_are_exact(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "false")
    result = run("classify", "--format", "csv", "-l", "a,b", "-m", "tiny", "--", *NAMES)
    assert {row["image"] for row in csv.DictReader(io.StringIO(result.stdout, newline=""))} == set(NAMES)


@given(st.text(st.characters(codec=None)) | st.lists(st.sampled_from(PIECES)).map("".join))
@example("##[##[error]")
@example("\n \u2028::\n::")
def test_any_text(text: str):
    plain = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text)
    assert commands(disarm(plain)) == []
    data = text.encode("utf-8", "surrogatepass")
    log = disarm_log(data).decode("utf-8", "replace")
    assert commands(log) == []
    assert json.loads(dumps(text)) == text
    assert commands(dumps(text)) == []


def test_annotations_carry_names_as_data(here: Path, monkeypatch: pytest.MonkeyPatch):
    from clipcli.output.reports import CheckReport, Finding
    from clipcli.output.targets import Target

    stream = io.BytesIO()
    findings = tuple(Finding(name, name, ok=False, expected="cat", found="dog") for name in NAMES[:9])
    write_annotations(Target("x", stream), [CheckReport("::a\n::b", findings, False, "none right", "tiny")])
    lines = stream.getvalue().decode().removesuffix("\n").split("\n")
    assert len(lines) == 9
    assert all(line.startswith("::error file=") for line in lines)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"), ("+a", "'+a"), ("-a.png", "'-a.png"), ("@a", "'@a"), (" =a", "' =a"), ("\t=a", "'\t=a"),
        ("-0.5", "-0.5"), ("+1e-3", "+1e-3"), ("-1e5x", "'-1e5x"), ("\uff1da", "'\uff1da"), ("a=b", "a=b"), ("", ""),
        ("\rx", "'\rx"), ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
    ],
)  # fmt: skip
def test_cells_that_begin_a_formula(cell: str, shown: str):
    assert without_formula(cell) == shown


def test_the_option_that_escapes_formulas(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI")
    call = ("classify", "-l", "a,b", "-m", "tiny", "--escape-formulas")
    result = run(*call, "--format", "csv", "--", "=cmd().png", "=gone.png", "--offline.png")
    assert [row["image"] for row in csv.DictReader(io.StringIO(result.stdout))] == [
        "'=cmd().png", "'=gone.png", "'--offline.png",
    ]  # fmt: skip
    assert run(*call, "--format", "tsv", "--", "=cmd().png").stdout.startswith("'=cmd().png\t")
    refused = run(*call, "--format", "jsonl", "--", "=cmd().png")
    assert (refused.code, refused.stdout) == (2, "")
    assert "--escape-formulas is for CSV and TSV" in refused.stderr


def test_the_action_and_the_hook():
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "inputs reach scripts through the environment only"
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"].endswith(" --")
    assert "args" not in hook
    for page in ("ci.md", "ci-forks.md"):
        for uses in re.findall(r"uses: (\S+)", (ROOT / "docs" / page).read_text(encoding="utf-8")):
            assert re.search(r"@([0-9a-f]{40}|COMMIT)$", uses), uses
