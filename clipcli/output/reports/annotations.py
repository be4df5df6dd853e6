"""Annotations of a pull request: lines of a log that GitHub shows beside the files.

The form and the escapes are those of its workflow commands: `::error file=NAME,title=TITLE::MESSAGE`, with `%`,
carriage return and newline as `%25`, `%0D`, `%0A` everywhere, and `:` and `,` as `%3A` and `%2C` before the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.core.console import disarm, printable
from clipcli.output.reports.findings import in_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.targets import Target

SHOWN = 10
"""GitHub shows ten errors and ten warnings per step and silently drops the others."""
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}
_AS_DATA = str.maketrans(_DATA)
_AS_PROPERTY = str.maketrans(_PROPERTY)


def write_annotations(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write an error for each image that fails a check, or a warning if the check still holds.

    The last one that GitHub shows gives the number of further ones.

    Raises:
        OutputError: the target cannot be written.
    """
    errors = [(check, finding) for check in checks if not check.holds for finding in check.failed]
    warnings = [(check, finding) for check in checks if check.holds for finding in check.failed]
    lines = [*_lines_of("error", errors), *_lines_of("warning", warnings)]
    lines += [_line("error", check, None, check.outcome) for check in checks if not check.holds and not check.failed]
    for line in lines:
        safe = printable(line) if target.is_terminal else line
        target.write(safe.encode("utf-8", "surrogateescape") + b"\n")
    target.flush()


def _lines_of(level: str, findings: Sequence[tuple[CheckReport, Finding]]) -> Iterator[str]:
    first_findings = findings if len(findings) <= SHOWN else findings[: SHOWN - 1]
    for check, finding in first_findings:
        yield _line(level, check, finding.image, f"{printable(finding.image)}: {printable(finding.message)}")
    if len(findings) > len(first_findings):
        remaining = len(findings) - len(first_findings)
        yield f"::{level} title=clipcli::{remaining} more images fail; the log and the reports name them all"


def _line(level: str, check: CheckReport, image: str | None, message: str) -> str:
    file = f"file={_property(in_checkout(image) or image)}," if image is not None else ""
    title = _property(printable(f"clipcli: {check.name}"))
    return f"::{level} {file}title={title}::{disarm(message).translate(_AS_DATA)}"


def _property(text: str) -> str:
    return text.translate(_AS_PROPERTY)
