"""A page to look at: the images that fail, large enough to see why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli import images
from clipcli.errors import ImageError
from clipcli.output.page import Card, Section, link_to, thumbnail, write_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.targets import Target

MOST_CARDS = 1000
"""Thumbnails of one check: 10 MB of page."""


def write_html(target: Target, checks: Sequence[CheckReport]) -> None:
    """A section a check: first the images that fail, then the others.

    Raises:
        OutputError: the target cannot be written.
    """
    failing = sum(len(check.failed) for check in checks)
    total = sum(check.total for check in checks)
    lead = f"{failing} of {total} image{'' if total == 1 else 's'} fail" if failing else f"{total} images, none fails"
    write_page(target, "clipcli checks", lead, (_section(check, target.name) for check in checks))


def _section(check: CheckReport, page: str) -> Section:
    ordered = [*check.failed, *(finding for finding in check.findings if finding.ok)]
    more = f"; {len(ordered) - MOST_CARDS} more images are not shown" if len(ordered) > MOST_CARDS else ""
    cards = tuple(_card(finding, page) for finding in ordered[:MOST_CARDS])
    return Section(check.name, cards, f"{check.outcome}{more}")


def _card(finding: Finding, page: str) -> Card:
    try:
        picture = thumbnail(images.decode(images.read(finding.path), rendering=images.ON_WHITE))
    except ImageError:
        picture = None
    return Card(
        finding.image,
        picture,
        badge="" if finding.ok else "fails",
        facts=(finding.message,),
        link=link_to(finding.path, page),
        tone="good" if finding.ok else "bad",
    )
