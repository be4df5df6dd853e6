"""Write the parts of the documentation that the program itself knows: help, exit codes, environment variables.

`python docs/generate.py` writes docs/cli.md, docs/exit-codes.md, docs/configuration.md and the man page docs/clipcli.1;
with `--check` it says whether they are current, and changes nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
_WIDTH = "100"
_MAN_WIDTH = "72"
"""A man page indents its text by seven columns, and many a terminal has 80."""
_MEANINGS = {
    "OK": "done",
    "CHECK_FAILED": "a check that was asked for does not hold",
    "USAGE": "wrong arguments",
    "SOME_FAILED": "finished, but some inputs failed; each is named on stderr and is a row of the output",
    "INPUTS": "nothing usable among the inputs, or a bad config, labels, prompts, plan or vector file",
    "MODEL": "the model cannot be found, fetched, checked or run, or gives no input a vector; or doctor found a fault",
    "OUTPUT": "results cannot be written",
    "BUG": "a bug in clipcli; the traceback is kept",
    "INTERRUPTED": "Ctrl-C",
}


def help_of(arguments: list[str]) -> str:
    """What `clipcli ARGUMENTS --help-all`, or `--help` where there is nothing more, prints on a terminal."""
    from clipcli.cli.app import app

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        app([*arguments, "--help-all" if has_options(arguments) else "--help"], prog_name="clipcli")
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


def has_options(arguments: list[str]) -> bool:
    """Whether this is a command or verb, and no group of them."""
    return [arguments] == [found for found in commands() if found[: len(arguments)] == arguments]


def commands() -> list[list[str]]:
    """Every command, groups before their verbs."""
    import typer

    from clipcli.cli.app import app

    found: list[list[str]] = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [[name], *([name, verb] for verb in getattr(command, "commands", ()))]
    return found


def cli_page() -> str:
    """docs/cli.md."""
    parts = [
        "# Commands",
        "",
        "Written by `make docs` from `clipcli COMMAND --help-all`; `--help` shows the everyday options.",
        "",
    ]
    for arguments in [[], *commands()]:
        parts += [f"## {' '.join(['clipcli', *arguments])}", "", "```text", help_of(arguments), "```", ""]
    return "\n".join(parts)


def man_page() -> str:
    """docs/clipcli.1: all of the help, exit codes and variables, in troff."""
    from clipcli.config.environment import VARIABLES
    from clipcli.errors import ExitCode

    parts = [
        '.TH CLIPCLI 1 "" "clipcli" "User Commands"',
        *(".SH NAME", r"clipcli \- zero-shot vision from the shell: classify, embed, rank and dedupe images"),
        *(".SH SYNOPSIS", r".B clipcli", r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]"),
        *(".SH DESCRIPTION", ".nf", _troff(help_of([])), ".fi"),
    ]
    for arguments in commands():
        parts += [f".SH {' '.join(arguments).upper()}", ".nf", _troff(help_of(arguments)), ".fi"]
    parts.append(".SH EXIT STATUS")
    parts += [line for code in ExitCode for line in (".TP", f".B {code.value}", _troff(_MEANINGS[code.name]))]
    parts.append(".SH ENVIRONMENT")
    parts += [line for entry in VARIABLES for line in (".TP", f".B {entry.name}", _troff(entry.meaning))]
    return "\n".join(parts) + "\n"


def _troff(text: str) -> str:
    """Plain text with nothing that troff would take for a request, a quote or an escape."""
    lines = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("'", r"\(aq").splitlines()
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


_VARIABLES = "<!-- variables: written by `make docs` -->"


def exit_codes_page() -> str:
    """docs/exit-codes.md."""
    from clipcli.errors import ExitCode

    rows = [f"| {code.value} | {_MEANINGS[code.name]} |" for code in ExitCode]
    return "\n".join(
        ["# Exit codes", "", "Written by `make docs`.", "", "| code | meaning |", "| --: | --- |", *rows, ""]
    )


def configuration_page() -> str:
    """docs/configuration.md, with its tables of variables written anew."""
    from clipcli.config.environment import VARIABLES

    parts = []
    for title, foreign in (("clipcli's own", False), ("Read by the libraries below it", True)):
        rows = [f"| `{entry.name}` | {entry.meaning} |" for entry in VARIABLES if entry.foreign is foreign]
        parts += [f"### {title}", "", "| variable | meaning |", "| --- | --- |", *rows, ""]
    before, begin, rest = (DOCS / "configuration.md").read_text(encoding="utf-8").partition(_VARIABLES)
    _, end, after = rest.partition("<!-- end of variables -->")
    return "".join((before, begin, "\n\n", "\n".join(parts), end, after))


def main() -> int:
    """Write or check the pages; 1 when a checked page is stale."""
    os.environ.update(COLUMNS=_WIDTH, TERMINAL_WIDTH=_WIDTH, NO_COLOR="1")
    for name in [name for name in os.environ if name.startswith("CLIPCLI_")]:
        del os.environ[name]
    stale = 0
    pages = {"cli.md": cli_page(), "exit-codes.md": exit_codes_page(), "configuration.md": configuration_page()}
    os.environ.update(COLUMNS=_MAN_WIDTH, TERMINAL_WIDTH=_MAN_WIDTH)
    pages["clipcli.1"] = man_page()
    for name, text in pages.items():
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"docs/{name} is stale: run make docs\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
