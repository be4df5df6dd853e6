"""Groups → a page to look at and to choose on; what is chosen is saved by the page itself, as a plan."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Final

from clipcli import images
from clipcli.deduplication.difference import difference
from clipcli.errors import ImageError
from clipcli.output.html import Card, Choice, Section, link_to, thumbnail, write_page
from clipcli.output.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image

    from clipcli.deduplication.rows import DuplicateRow
    from clipcli.output import ErrorRow

_DRAFT: Final = (512, 512)
_PICTURES: Final = 3000
"""Files that are shown with their pictures, 10 to 14 kB each; the choices below them remain."""
_MEGABYTE: Final = 1e6


@dataclass
class Page:
    """Takes the rows of a run and writes them as a page at its end; without a file it takes nothing."""

    file: str | None
    orient: bool = True
    rendering: images.Rendering = images.ON_WHITE
    _rows: list[DuplicateRow] = field(default_factory=list)
    _shown: int = 0

    def add(self, row: DuplicateRow | ErrorRow) -> None:
        """Take a row of a group; failures are for the other outputs."""
        if self.file is not None and "group" in row.columns:
            self._rows.append(row)  # type: ignore[arg-type]

    def write(self) -> None:
        """Write the page, group by group. Raises OutputError."""
        if self.file is None:
            return
        going = [row for row in self._rows if not row.plan.keep]
        size = sum(row.plan.size for row in going) / _MEGABYTE
        count = self._rows[-1].group if self._rows else 0
        lead = f"{count:,} group{'' if count == 1 else 's'}, {len(going):,} of {len(self._rows):,} files may go "
        lead += f"({size:,.1f} MB). "
        lead += "Save the plan, then: clipcli apply plan.jsonl"
        if len(self._rows) > _PICTURES:
            lead += f". Only the first {_PICTURES:,} files are shown with their pictures"
        with open_target(self.file) as target:
            write_page(target, "Duplicates", lead, self._sections(), choices=True)

    def _sections(self) -> Iterator[Section]:
        for number, rows in groupby(self._rows, key=lambda row: row.group):
            group = list(rows)
            first = group[0]
            why = f"kept: {first.reason}" if first.reason else ""
            smallest = "" if first.min_similarity is None else f"smallest similarity {first.min_similarity:.3f}"
            title = f"Group {number}: {first.level}, {len(group)} files"
            cards = tuple(self._cards(group))
            yield Section(title, cards, note=", ".join(part for part in (why, smallest) if part))

    def _cards(self, group: Sequence[DuplicateRow]) -> Iterator[Card]:
        heads = {row.plan.keeper for row in group}
        first = group[0]
        pictures: dict[str, Image | None] = {}
        kept = {row.plan.path: row for row in group if row.plan.path in heads}
        for row in group:
            picture, head = self._picture(row), kept.get(row.plan.keeper, first)
            if row.plan.path in heads:
                pictures[row.plan.path] = picture
            beside, differs = pictures.get(head.plan.path), None
            if beside is not None and picture is not None and row is not head and row.level != "exact":
                differs = difference(beside, picture, turned=row.turn != 0)
            yield self._card(row, head, None if picture is None else thumbnail(picture), differs)

    def _card(self, row: DuplicateRow, head: DuplicateRow, picture: str | None, differs: str | None) -> Card:
        record = {**row.record()}
        keep = bool(record.pop("keep"))
        record.pop("page", None)  # what the page saves was looked at
        choice = Choice(keep, ", " + json.dumps(record)[1:], fixed=row.plan.protected)
        badge = "keep" if row is head else row.level
        facts = tuple(_facts(row, head))
        link = link_to(row.plan.path, self.file)
        return Card(row.plan.image, picture, badge, facts, link, "good" if keep else "bad", choice, differs)

    def _picture(self, row: DuplicateRow) -> Image | None:
        self._shown += 1
        if self._shown > _PICTURES:
            return None
        with suppress(ImageError):
            return images.decode(images.read(row.plan.path), orient=self.orient, draft=_DRAFT, rendering=self.rendering)
        return None


def _facts(row: DuplicateRow, head: DuplicateRow) -> Sequence[str]:
    """Size, bytes and date, each with its difference from the kept file."""
    same = row is head
    facts = []
    if row.width and row.height:
        pixels = row.width * row.height
        kept = (head.width or 0) * (head.height or 0)
        facts.append(f"{row.width} × {row.height}{_change(pixels, kept, same=same)}")
    facts.append(f"{row.plan.size:,} bytes{_change(row.plan.size, head.plan.size, same=same)}")
    facts.append(f"{datetime.fromtimestamp(row.plan.mtime_ns / 1e9, timezone.utc):%Y-%m-%d %H:%M:%S}")
    if not same:
        similarity = "" if row.similarity is None else f", similarity {row.similarity:.3f}"
        of = "" if head.plan.path == head.plan.keeper else f" as {head.plan.image}"
        facts.append(f"{row.reason}{of}{similarity}")
    return facts


def _change(value: int, kept: int, *, same: bool) -> str:
    if same or not kept or value == kept:
        return ""
    return f" ({100 * (value - kept) / kept:+.0f} %)"
