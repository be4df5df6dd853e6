"""Markdown for the summary of a job. Names are in code spans, so that they contain no markup, mention or link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clipcli.core.console import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.targets import Target

MOST_BYTES = 900_000
"""GitHub refuses a job summary above 1 MiB."""


def write_markdown(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write a table of checks, then a table of failing images for each check that has some.

    Raises:
        OutputError: the target cannot be written.
    """
    room = MOST_BYTES
    failing = sum(len(check.failed) for check in checks)
    verdict = "every check holds" if all(check.holds for check in checks) else "a check fails"
    lines = [f"## clipcli: {verdict}", "", "| check | images | failing | |", "| --- | ---: | ---: | --- |"]
    lines += [_check_row(check) for check in checks]
    left_out = 0
    for line in [*lines, *(row for check in checks if check.failed for row in _failures(check))]:
        data = line.encode("utf-8") + b"\n"
        if len(data) > room:
            left_out += 1
        else:
            room -= len(data)
            target.write(data)
    if left_out:
        target.write(f"\n{left_out} of {failing} lines did not fit; other reports name them all.\n".encode())


def _check_row(check: CheckReport) -> str:
    mark = "✅" if check.holds else "❌"
    return f"| {code(check.name)} | {check.total} | {len(check.failed)} | {mark} {text(check.outcome)} |"


def _failures(check: CheckReport) -> Iterator[str]:
    yield from ("", f"### {code(check.name)}", "", "| image | expected | found |", "| --- | --- | --- |")
    for finding in check.failed:
        yield f"| {code(finding.image)} | {_wanted(finding)} | {_found(finding)} |"


def _wanted(finding: Finding) -> str:
    score = "" if finding.expected_score is None else f" {finding.expected_score:.4f}"
    return f"{code(finding.expected)}{score}" if finding.expected else "–"


def _found(finding: Finding) -> str:
    if finding.error is not None:
        return text(finding.error)
    score = "" if finding.found_score is None else f" {finding.found_score:.4f}"
    return f"{code(finding.found) if finding.found else '–'}{score}"


def code(raw: str) -> str:
    """Return a code span that shows exactly this text, also in a table."""
    safe = printable(raw).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") or not safe.strip() else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def text(raw: str) -> str:
    """Return text with all markup characters escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~@&!])", r"\\\1", printable(raw))
