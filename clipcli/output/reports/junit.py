"""JUnit XML for CI servers: one suite per check, one test case per image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from clipcli.core.console import printable
from clipcli.output.reports.findings import in_checkout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.targets import Target

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, even escaped."""


def write_junit(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write one document. A failing image of a check that still holds is `skipped`, so that it does not fail the build.

    Raises:
        OutputError: the target cannot be written.
    """
    root = ET.Element("testsuites", name="clipcli")
    for check in checks:
        root.append(_suite(check))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root)
    target.write(b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n")


def _suite(check: CheckReport) -> ET.Element:
    suite = ET.Element("testsuite", name=legal(check.name))
    properties = ET.SubElement(suite, "properties")
    for name, value in (("model", check.model), ("outcome", check.outcome)):
        if value:
            ET.SubElement(properties, "property", name=name, value=legal(value))
    for finding in check.findings:
        suite.append(_case(check, finding))
    if not check.holds and not check.failed:
        case = ET.SubElement(suite, "testcase", name="the check as a whole", classname=_classname(check))
        ET.SubElement(case, "failure", message=legal(check.outcome), type="check")
    kinds = [child.tag for case in suite.iter("testcase") for child in case]
    suite.set("tests", str(sum(1 for _ in suite.iter("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(kinds.count(tag)))
    return suite


def _case(check: CheckReport, finding: Finding) -> ET.Element:
    name, file = legal(finding.image), legal(in_checkout(finding.image) or finding.image)
    case = ET.Element("testcase", name=legal(finding.title) or name, classname=_classname(check), file=file)
    if not finding.ok:
        message = legal(finding.message)
        if check.holds:
            ET.SubElement(case, "skipped", message=f"tolerated: {message}")
        elif finding.error is not None:
            ET.SubElement(case, "error", message=message, type="image")
        else:
            ET.SubElement(case, "failure", message=message, type="label").text = f"{printable(name)}: {message}"
    return case


def _classname(check: CheckReport) -> str:
    """Return the class name of a check; servers group cases by its part before the dot."""
    return legal(f"clipcli.{check.name.replace('.', '_')}")


def legal(text: str) -> str:
    r"""Return the text with characters that XML does not allow escaped: `\x1b`, and undecodable bytes as `\xff`."""
    return _ILLEGAL.sub(lambda match: printable(match[0]) if not match[0].isprintable() else "\ufffd", text)
