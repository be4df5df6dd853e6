"""What GitHub shows of checks: annotations of a pull request, Markdown in the summary of a job, and SARIF.

Annotations are lines of a log that GitHub shows beside the files. The form and the escapes are those of its workflow
commands: `::error file=NAME,title=TITLE::MESSAGE`, with `%`, carriage return and newline as `%25`, `%0D`, `%0A`
everywhere, and `:` and `,` as `%3A` and `%2C` before the message. In Markdown, names are in code spans, so that they
contain no markup, mention or link. SARIF 2.1.0 is for code scanning, of other servers too: one run, one rule per check,
one result per failing image.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from clipcli import __version__
from clipcli.core.console import disarm, printable
from clipcli.inputs.sources.filesystems import is_url
from clipcli.output.reports.findings import in_checkout
from clipcli.output.rows import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.rows import JsonObject
    from clipcli.output.targets import Target

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings per step and silently drops the others."""
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}
_AS_DATA = str.maketrans(_DATA)
_AS_PROPERTY = str.maketrans(_PROPERTY)
MOST_MARKDOWN_BYTES = 900_000
"""GitHub refuses a job summary above 1 MiB."""
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_CHECKOUT = "%SRCROOT%"
_URL_CHARACTERS = "%:/?#[]@!$&'()*+,;="
"""Characters with a meaning in a URL, or already escaped."""
_SARIF_FINGERPRINT = "clipcliCheck/v1"


def write_annotations(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write an error for each image that fails a check, or a warning if the check still holds.

    The last one that GitHub shows gives the number of further ones.

    Raises:
        OutputError: the target cannot be written.
    """
    errors = [(check, finding) for check in checks if not check.holds for finding in check.failed]
    warnings = [(check, finding) for check in checks if check.holds for finding in check.failed]
    lines = [*_annotations("error", errors), *_annotations("warning", warnings)]
    lines += [
        _annotation("error", check, None, check.outcome) for check in checks if not check.holds and not check.failed
    ]
    for line in lines:
        safe = printable(line) if target.is_terminal else line
        target.write(safe.encode("utf-8", "surrogateescape") + b"\n")
    target.flush()


def _annotations(level: str, findings: Sequence[tuple[CheckReport, Finding]]) -> Iterator[str]:
    first_findings = findings if len(findings) <= MOST_ANNOTATIONS else findings[: MOST_ANNOTATIONS - 1]
    for check, finding in first_findings:
        yield _annotation(level, check, finding.image, f"{printable(finding.image)}: {printable(finding.message)}")
    if len(findings) > len(first_findings):
        remaining = len(findings) - len(first_findings)
        yield f"::{level} title=clipcli::{remaining} more images fail; the log and the reports name them all"


def _annotation(level: str, check: CheckReport, image: str | None, message: str) -> str:
    file = f"file={_escape_property(in_checkout(image) or image)}," if image is not None else ""
    title = _escape_property(printable(f"clipcli: {check.name}"))
    return f"::{level} {file}title={title}::{disarm(message).translate(_AS_DATA)}"


def _escape_property(text: str) -> str:
    return text.translate(_AS_PROPERTY)


def write_markdown(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write a table of checks, then a table of failing images for each check that has some.

    Raises:
        OutputError: the target cannot be written.
    """
    room = MOST_MARKDOWN_BYTES
    failing = sum(len(check.failed) for check in checks)
    verdict = "every check holds" if all(check.holds for check in checks) else "a check fails"
    lines = [f"## clipcli: {verdict}", "", "| check | images | failing | |", "| --- | ---: | ---: | --- |"]
    lines += [_markdown_check_row(check) for check in checks]
    left_out = 0
    for line in [*lines, *(row for check in checks if check.failed for row in _markdown_failures(check))]:
        data = line.encode("utf-8") + b"\n"
        if len(data) > room:
            left_out += 1
        else:
            room -= len(data)
            target.write(data)
    if left_out:
        target.write(f"\n{left_out} of {failing} lines did not fit; other reports name them all.\n".encode())


def _markdown_check_row(check: CheckReport) -> str:
    mark = "✅" if check.holds else "❌"
    return (
        f"| {code_span(check.name)} | {check.total} | {len(check.failed)} | {mark} {escape_markdown(check.outcome)} |"
    )


def _markdown_failures(check: CheckReport) -> Iterator[str]:
    yield from ("", f"### {code_span(check.name)}", "", "| image | expected | found |", "| --- | --- | --- |")
    for finding in check.failed:
        yield f"| {code_span(finding.image)} | {_expected_cell(finding)} | {_found_cell(finding)} |"


def _expected_cell(finding: Finding) -> str:
    score = "" if finding.expected_score is None else f" {finding.expected_score:.4f}"
    return f"{code_span(finding.expected)}{score}" if finding.expected else "–"


def _found_cell(finding: Finding) -> str:
    if finding.error is not None:
        return escape_markdown(finding.error)
    score = "" if finding.found_score is None else f" {finding.found_score:.4f}"
    return f"{code_span(finding.found) if finding.found else '–'}{score}"


def code_span(raw: str) -> str:
    """Return a code span that shows exactly this text, also in a table."""
    safe = printable(raw).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") or not safe.strip() else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def escape_markdown(raw: str) -> str:
    """Return text with all markup characters escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~@&!])", r"\\\1", printable(raw))


def write_sarif(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write a log with one run; code scanning refuses several runs of one tool in a file.

    Raises:
        OutputError: the target cannot be written.
    """
    results: list[JsonObject] = []
    for index, check in enumerate(checks):
        results += [_sarif_result(index, check, finding) for finding in check.failed]
        if not check.holds and not check.failed:
            results.append(_sarif_check_result(index, check))
    driver = {"name": "clipcli", "version": __version__, "rules": [_sarif_rule(check) for check in checks]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {
            _CHECKOUT: {
                "description": {"text": "the top of the repository; outside of one, the folder that clipcli ran in"}
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    target.write(dumps(log, indent=1).encode("utf-8") + b"\n")


def _sarif_rule(check: CheckReport) -> JsonObject:
    return {
        "id": printable(check.name),
        "shortDescription": {"text": f"Images of the check {printable(check.name)} are what they should be."},
        "help": {"text": f"{printable(check.outcome)} (model: {check.model or 'none'})"},
        "defaultConfiguration": {"level": _sarif_level(check)},
    }


def _sarif_level(check: CheckReport) -> str:
    return "warning" if check.holds else "error"


def _sarif_check_result(index: int, check: CheckReport) -> JsonObject:
    return {
        "ruleId": printable(check.name),
        "ruleIndex": index,
        "level": _sarif_level(check),
        "message": {"text": printable(check.outcome)},
    }


def _sarif_result(index: int, check: CheckReport, finding: Finding) -> JsonObject:
    identity = "\0".join((check.name, finding.image, finding.expected or "")).encode("utf-8", "surrogatepass")
    # Viewers require a line number; a picture has only line 1.
    location = {"artifactLocation": _sarif_location(finding.image), "region": {"startLine": 1}}
    scores = {"expectedScore": finding.expected_score, "foundScore": finding.found_score}
    return {
        "ruleId": printable(check.name),
        "ruleIndex": index,
        "level": _sarif_level(check),
        "message": {"text": f"{printable(finding.image)}: {printable(finding.message)}"},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {_SARIF_FINGERPRINT: hashlib.sha256(identity).hexdigest()},
        "properties": {name: round(score, 6) for name, score in scores.items() if score is not None},
    }


def _sarif_location(image: str) -> JsonObject:
    """Return a path relative to the top of the checkout, or the full URI of a file elsewhere or of a URL."""
    if is_url(image):
        return {"uri": quote(os.fsencode(image), safe=_URL_CHARACTERS)}
    relative = in_checkout(image)
    if relative is None:
        return {"uri": "file://" + quote(os.fsencode(Path(image).absolute().as_posix()))}
    return {"uri": quote(os.fsencode(relative)), "uriBaseId": _CHECKOUT}
