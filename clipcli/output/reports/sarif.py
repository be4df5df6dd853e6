"""SARIF 2.1.0 for code scanning: one run, one rule per check, one result per failing image."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from clipcli import __version__
from clipcli.core.console import printable
from clipcli.inputs.sources.filesystems import is_url
from clipcli.output.json import dumps
from clipcli.output.reports.findings import in_checkout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.rows import JsonObject
    from clipcli.output.targets import Target

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
_OF_URLS = "%:/?#[]@!$&'()*+,;="
"""Characters with a meaning in a URL, or already escaped."""
_FINGERPRINT = "clipcliCheck/v1"


def write_sarif(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write a log with one run; code scanning refuses several runs of one tool in a file.

    Raises:
        OutputError: the target cannot be written.
    """
    results: list[JsonObject] = []
    for index, check in enumerate(checks):
        results += [_result(index, check, finding) for finding in check.failed]
        if not check.holds and not check.failed:
            results.append(_of_check(index, check))
    driver = {"name": "clipcli", "version": __version__, "rules": [_rule(check) for check in checks]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {
            _ROOT: {
                "description": {"text": "the top of the repository; outside of one, the folder that clipcli ran in"}
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    target.write(dumps(log, indent=1).encode("utf-8") + b"\n")


def _rule(check: CheckReport) -> JsonObject:
    return {
        "id": printable(check.name),
        "shortDescription": {"text": f"Images of the check {printable(check.name)} are what they should be."},
        "help": {"text": f"{printable(check.outcome)} (model: {check.model or 'none'})"},
        "defaultConfiguration": {"level": _level(check)},
    }


def _level(check: CheckReport) -> str:
    return "warning" if check.holds else "error"


def _of_check(index: int, check: CheckReport) -> JsonObject:
    return {
        "ruleId": printable(check.name),
        "ruleIndex": index,
        "level": _level(check),
        "message": {"text": printable(check.outcome)},
    }


def _result(index: int, check: CheckReport, finding: Finding) -> JsonObject:
    identity = "\0".join((check.name, finding.image, finding.expected or "")).encode("utf-8", "surrogatepass")
    # Viewers require a line number; a picture has only line 1.
    location = {"artifactLocation": _location(finding.image), "region": {"startLine": 1}}
    scores = {"expectedScore": finding.expected_score, "foundScore": finding.found_score}
    return {
        "ruleId": printable(check.name),
        "ruleIndex": index,
        "level": _level(check),
        "message": {"text": f"{printable(finding.image)}: {printable(finding.message)}"},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {_FINGERPRINT: hashlib.sha256(identity).hexdigest()},
        "properties": {name: round(score, 6) for name, score in scores.items() if score is not None},
    }


def _location(image: str) -> JsonObject:
    """Return a path relative to the top of the checkout, or the full URI of a file elsewhere or of a URL."""
    if is_url(image):
        return {"uri": quote(os.fsencode(image), safe=_OF_URLS)}
    inside = in_checkout(image)
    if inside is None:
        return {"uri": "file://" + quote(os.fsencode(Path(image).absolute().as_posix()))}
    return {"uri": quote(os.fsencode(inside)), "uriBaseId": _ROOT}
