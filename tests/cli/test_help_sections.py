"""`--help` in sections: a newcomer finds the twenty options of one thing apart from those of another."""

from __future__ import annotations

from run import run


def test_options_stand_under_what_their_group_says_of_itself():
    lines = run("classify", "--help").stdout.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "Arguments:"
    assert headings[1:3] == ["Which images:", "Which labels, and the prompts they are put into:"]
    assert headings[-1] == "Options:"
    under = {line.split()[-1]: heading for heading, line in _with_heading(lines, headings) if "--model" in line}
    assert set(under.values()) == {"Which model, and where it runs:"}


def test_arguments_have_no_python_types():
    assert "<list[str]>" not in run("classify", "--help").stdout
    assert "<str>" not in run("models", "info", "--help").stdout


def test_an_option_outside_of_all_groups_is_shown_too():
    lines = run("embed", "--help").stdout.splitlines()
    assert any("--dry-run" in line for line in lines[lines.index("Options:") :])


def _with_heading(lines: list[str], headings: list[str]):
    heading = ""
    for line in lines:
        heading = line if line in headings else heading
        yield heading, line
