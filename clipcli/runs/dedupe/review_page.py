"""Groups → a page to look at and to choose on; what is chosen is saved by the page itself, as a plan."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageChops

from clipcli import images
from clipcli.core.console import printable
from clipcli.core.files import decimal_size
from clipcli.errors import ImageError
from clipcli.output.page import Card, PageChoice, Saving, Section, link_to, thumbnail, write_page
from clipcli.output.targets import open_target
from clipcli.plan.plan_file import reviewed_name
from clipcli.runs.dedupe.rows import Freed
from clipcli.tasks.dedupe.likeness import TURNS, turn
from clipcli.tasks.dedupe.sheets import grounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from clipcli.output import ErrorRow
    from clipcli.runs.dedupe.rows import DuplicateRow

_DRAFT: Final = (512, 512)
_PICTURES: Final = 3000
"""Files that are shown with their pictures, 10 to 14 kB each; the choices below them remain."""
_COPIES: Final = frozenset(("exact", "near"))


@dataclass
class ReviewPage:
    """Takes the rows of a run and writes them as a page at its end; without a file it takes nothing."""

    file: str | None
    orient: bool = True
    rendering: images.Rendering = images.ON_WHITE
    plan: str | None = None
    """The file of the plan, after which the saved one is named; without one it is named after the page."""
    _rows: list[DuplicateRow] = field(default_factory=list)
    _shown: int = 0
    _places: dict[int, int] = field(default_factory=dict)

    def add(self, row: DuplicateRow | ErrorRow) -> None:
        """Take a row of a group; failures are for the other outputs."""
        if self.file is not None and "group" in row.columns:
            self._rows.append(row)  # type: ignore[arg-type]

    def write(self) -> None:
        """Write the page, group by group. Raises OutputError."""
        if self.file is None:
            return
        going = [row for row in self._rows if not row.plan.keep]
        freed = Freed()
        for row in self._rows:
            freed.add(row)
        count = self._rows[-1].group if self._rows else 0
        lead = f"{count:,} group{'' if count == 1 else 's'}, {len(going):,} of {len(self._rows):,} files may go "
        lead += f"({decimal_size(freed.bytes)}). The least certain groups come first"
        if len(self._rows) > _PICTURES:
            lead += f". Only the first {_PICTURES:,} files are shown with their pictures"
        saving = Saving(reviewed_name(self.plan or self.file), self._key())
        with open_target(self.file) as target:
            write_page(target, "Duplicates", lead, self._sections(), labels="Level", saving=saving)

    def _key(self) -> str:
        """Return a digest of the plan: what was chosen for it means nothing for another."""
        digest = hashlib.sha256()
        for row in self._rows:
            digest.update(json.dumps([row.group, row.plan.path, row.plan.sha256, row.plan.keep]).encode())
        return digest.hexdigest()[:24]

    def _sections(self) -> Iterator[Section]:
        """Return the groups, the least certain first."""
        self._places = {id(row): place for place, row in enumerate(self._rows)}
        groups = [list(rows) for _, rows in groupby(self._rows, key=lambda row: row.group)]
        for group in sorted(groups, key=_certainty):
            number, first = group[0].group, group[0]
            why = f"kept: {first.reason}" if first.reason else ""
            smallest = "" if first.min_similarity is None else f"smallest similarity {first.min_similarity:.3f}"
            title = f"Group {number}: {first.level}, {len(group)} files"
            cards = tuple(self._cards(group))
            note = ", ".join(part for part in (why, smallest) if part)
            certain = 1.0 if first.min_similarity is None else first.min_similarity
            yield Section(title, cards, note, label=first.level, score=certain)

    def _cards(self, group: Sequence[DuplicateRow]) -> Iterator[Card]:
        heads = {row.plan.keeper for row in group}
        first = group[0]
        pictures: dict[str, Image.Image | None] = {}
        kept = {row.plan.path: row for row in reversed(group) if row.plan.path in heads}  # one file on both sides
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
        choice = PageChoice(
            keep, ", " + json.dumps(record)[1:], self._places[id(row)], printable(os.path.dirname(row.plan.image)),  # noqa: PTH120
            row.plan.size, f"{row.plan.device}:{row.plan.inode}", row.names,
            loose=row is not head and row.level not in _COPIES, fixed=row.plan.protected,
        )  # fmt: skip
        badge = "keep" if row is head else row.level
        facts = tuple(_facts(row, head))
        link = link_to(row.plan.path, self.file)
        return Card(row.plan.image, picture, badge, facts, link, "good" if keep else "bad", choice, differs)

    def _picture(self, row: DuplicateRow) -> Image.Image | None:
        self._shown += 1
        if self._shown > _PICTURES:
            return None
        with suppress(ImageError):
            return images.decode(images.read(row.plan.path), orient=self.orient, draft=_DRAFT, rendering=self.rendering)
        return None


def _certainty(group: Sequence[DuplicateRow]) -> tuple[int, float, int]:
    """Return a key that sorts doubtful groups first.

    Groups with files that would go and are no exact copies, the least like their keeper first; then those with files
    that stay although they look alike; then copies.
    """
    going = [row for row in group if not row.plan.keep and row.level != "exact"]
    if going:
        alike = (row.structure if row.structure is not None else row.similarity or 0.0 for row in going)
        return 0, min(alike), group[0].group
    return (1 if any(row.level not in _COPIES for row in group) else 2), 0.0, group[0].group


def _facts(row: DuplicateRow, head: DuplicateRow) -> Sequence[str]:
    """Size, bytes and date, each with its difference from the kept file."""
    same = row is head
    facts = []
    if row.width and row.height:
        pixels = row.width * row.height
        kept = (head.width or 0) * (head.height or 0)
        facts.append(f"{row.width:,} × {row.height:,}{_change(pixels, kept, same=same)}")
    facts.append(f"{decimal_size(row.plan.size)}{_change(row.plan.size, head.plan.size, same=same)}")
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


_EDGE: Final = 128
_STRONGER: Final = 4
_QUALITY: Final = 60
_GLANCE: Final = 32


def difference(kept: Image.Image, other: Image.Image, *, turned: bool = False) -> str:
    """A JPEG data URI of two to four kB: absolute differences of the colours at 128 pixels, four times as strong.

    The other picture is stretched to the kept one's shape, and first laid down as it fits best where it was `turned`.
    """
    shrink = min(1.0, _EDGE / max(kept.size))
    size = max(1, round(kept.width * shrink)), max(1, round(kept.height * shrink))
    one, two = grounded(kept), grounded(other)
    if turned:
        two = Image.fromarray(turn(np.asarray(two), _best_turn(one, two)))
    shown = ImageChops.difference(one.resize(size, reducing_gap=2.0), two.resize(size, reducing_gap=2.0)).point(
        lambda value: min(255, _STRONGER * value)
    )
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _best_turn(kept: Image.Image, other: Image.Image) -> int:
    one, two = _small(kept), _small(other)
    return min(range(TURNS), key=lambda number: float(np.abs(one - turn(two, number)).mean()))


def _small(image: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(image.convert("L").resize((_GLANCE, _GLANCE), Image.Resampling.BOX), np.float32)
