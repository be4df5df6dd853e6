"""Write the parts of the documentation that the program itself knows: help, exit codes, environment variables.

`python docs/generate.py` writes docs/cli.md, docs/api.md, docs/exit-codes.md, docs/configuration.md and the man page
docs/clipcli.1;
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
    from clipcli.config.option_defaults import VARIABLES
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
    from clipcli.config.option_defaults import VARIABLES

    parts = []
    for title, foreign in (("clipcli's own", False), ("Read by the libraries below it", True)):
        rows = [f"| `{entry.name}` | {entry.meaning} |" for entry in VARIABLES if entry.foreign is foreign]
        parts += [f"### {title}", "", "| variable | meaning |", "| --- | --- |", *rows, ""]
    before, begin, rest = (DOCS / "configuration.md").read_text(encoding="utf-8").partition(_VARIABLES)
    _, end, after = rest.partition("<!-- end of variables -->")
    return "".join((before, begin, "\n\n", "\n".join(parts), end, after))


def api_page() -> str:
    """docs/api.md: the public names of `clipcli`, with their signatures and docstrings."""
    import inspect
    import re

    import clipcli

    parts = [
        "# The Python interface",
        "",
        "Written by `make docs` from the docstrings. [From Python](python.md) shows it at work.",
        "",
        "These names are stable: they change as the [versions](../CHANGELOG.md) say, semantically.",
        "What is beneath them may change at any time.",
        "",
    ]
    for name in ("classify", "embed", "rank", "dedupe", "open_session"):
        function = getattr(clipcli, name)
        signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(inspect.unwrap(function))))
        parts += [f"## clipcli.{name}", "", "```text", _folded(f"{name}{signature}"), "```", "", *_described(function)]
    for name in (
        "ClipSession",
        "Results",
        "Classification",
        "Embeddings",
        "Embedding",
        "RankedImage",
        "DuplicateImage",
    ):
        kind = getattr(clipcli, name)
        parts += [f"## clipcli.{name}", "", inspect.getdoc(kind) or "", "", *_members(kind)]
    parts += ["## clipcli.ClipcliError", "", inspect.getdoc(clipcli.ClipcliError) or "", ""]
    return "\n".join(parts)


def _folded(signature: str) -> str:
    """A signature, one parameter a line."""
    name, _, rest = signature.partition("(")
    inside, _, result = rest.rpartition(")")
    depth, lines, line = 0, [], ""
    for character in inside:
        depth += character in "([{"
        depth -= character in ")]}"
        if character == "," and not depth:
            lines.append(f"    {line.strip()},")
            line = ""
        else:
            line += character
    return "\n".join([f"{name}(", *lines, f"    {line.strip()},", f"){result}"])


def _described(function: object) -> list[str]:
    """A docstring of Google's style as Markdown: its sections as lists."""
    import inspect
    import re

    lines: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            lines += [f"**{line.removesuffix(':')}**", ""]
        elif found := re.match(r"    (\w+): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        else:
            lines.append(f"  {line.strip()}" if line.startswith("        ") else line.strip())
    return [*lines, ""]


def _members(kind: type) -> list[str]:
    """Fields with what the source says of them, and methods with the first line of their docstrings."""
    import ast
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is the source of a class
    lines = ["| | |", "| --- | --- |"]
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = str(after.value.value)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines.append(
                f"| `{node.target.id}: {ast.unparse(node.annotation)}` | {text} |".replace(" | None`", " or None`")
            )
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            said = (ast.get_docstring(node) or "").replace("\n", " ")
            is_field = any(ast.unparse(each) == "property" for each in node.decorator_list)
            lines.append(f"| `{node.name}{'' if is_field else '()'}` | {said} |")
    return [*lines, ""]


def main() -> int:
    """Write or check the pages; 1 when a checked page is stale."""
    os.environ.update(COLUMNS=_WIDTH, TERMINAL_WIDTH=_WIDTH, NO_COLOR="1")
    for name in [name for name in os.environ if name.startswith("CLIPCLI_")]:
        del os.environ[name]
    stale = 0
    pages = {
        "cli.md": cli_page(),
        "api.md": api_page(),
        "exit-codes.md": exit_codes_page(),
        "configuration.md": configuration_page(),
    }
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
