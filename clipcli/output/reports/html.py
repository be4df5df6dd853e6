"""A page of the images that fail, and then of the others by label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from clipcli.output.page import Card, Section, link_to, read_thumbnails, write_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output.page import Tone
    from clipcli.output.reports.findings import CheckReport, Finding
    from clipcli.output.targets import Target

MOST_CARDS = 2000
"""Most thumbnails of one check: 20 MB of page."""


def write_html(target: Target, checks: Sequence[CheckReport]) -> None:
    """Write a page of all checks: for each, the images that fail, then the others, by label if they have labels.

    Raises:
        OutputError: the target cannot be written.
    """
    failing = sum(len(check.failed) for check in checks)
    total = sum(check.total for check in checks)
    images = f"{total:,} image{'' if total == 1 else 's'}"
    if not any(finding.expected for check in checks for finding in check.findings):
        title, lead = "clipcli classify" if len(checks) == 1 else "clipcli", images
    else:
        title, lead = "clipcli checks", f"{failing:,} of {images} fail" if failing else f"{images}, none fails"
    models = ", ".join(dict.fromkeys(check.model for check in checks if check.model))
    lead += f"; scores by {models}" if models else ""
    write_page(target, title, lead, _sections(checks, target.name))


@dataclass(frozen=True)
class _Part:
    """Findings under one heading."""

    title: str
    findings: Sequence[Finding]
    note: str


def _sections(checks: Sequence[CheckReport], page: str) -> Iterator[Section]:
    for check in checks:
        parts = _shown_parts(check, alone=len(checks) == 1)
        pictures = read_thumbnails(finding.path for part in parts for finding in part.findings)
        card = _label_card if check.by_label else _card
        for part in parts:  # the findings first: `zip` takes no picture too many then
            cards = tuple(card(finding, picture, page) for finding, picture in zip(part.findings, pictures))  # noqa: B905
            yield Section(part.title, cards, part.note)


def _shown_parts(check: CheckReport, *, alone: bool) -> list[_Part]:
    """Return the parts of a page, failing images first, with at most `MOST_CARDS` findings."""
    left_out = check.total - MOST_CARDS
    note = check.outcome + (f"; {left_out:,} more images are not shown" if left_out > 0 else "")
    if not check.by_label:
        passed = (finding for finding in check.findings if finding.ok)
        return [_Part(check.name, [*check.failed, *passed][:MOST_CARDS], note)]
    parts: list[_Part] = []
    room = MOST_CARDS
    for title, findings in _by_label(check):
        if not room:
            break
        count = f"{len(findings):,} image{'' if len(findings) == 1 else 's'}"
        heading = title if alone else f"{check.name}: {title}"
        parts.append(_Part(heading, findings[:room], count if parts else f"{count}. {note}"))
        room -= len(parts[-1].findings)
    return parts or [_Part(check.name, (), note)]


def _by_label(check: CheckReport) -> Iterator[tuple[str, list[Finding]]]:
    """Yield headings and findings by score: wrong answers, the others by label, and unreadable images."""
    wrong = [finding for finding in check.failed if finding.error is None]
    if wrong:
        yield "wrong", sorted(wrong, key=_surest)
    passed = sorted((finding for finding in check.findings if finding.ok), key=_label)
    for (_, label), findings in groupby(passed, key=_label):
        yield label or "no label", sorted(findings, key=_surest)
    unreadable = [finding for finding in check.failed if finding.error is not None]
    if unreadable:
        yield "cannot be read", unreadable


def _label(finding: Finding) -> tuple[bool, str]:
    """Return a key that sorts by label, with images without a label last."""
    return finding.found is None, finding.found or ""


def _surest(finding: Finding) -> float:
    return -(finding.found_score or 0.0)


def _label_card(finding: Finding, picture: str | None, page: str) -> Card:
    facts = (finding.message,) if finding.error is not None else ()
    if finding.error is None and finding.expected and not finding.ok:
        score = "" if finding.expected_score is None else f" {finding.expected_score:.4f}"
        facts = (f"expected {finding.expected}{score}",)
    tone: Tone = "plain" if not finding.expected else ("good" if finding.ok else "bad")
    badge = "" if finding.ok or finding.error is not None else "wrong"
    return Card(
        finding.image, picture, badge, facts, link_to(finding.path, page), tone,
        label=finding.found or "", score=finding.found_score,
    )  # fmt: skip


def _card(finding: Finding, picture: str | None, page: str) -> Card:
    badge = "" if finding.ok else "fails"
    tone: Tone = "good" if finding.ok else "bad"
    link = link_to(finding.path, page)
    return Card(finding.image, picture, badge, (finding.message,), link, tone, score=finding.found_score)
