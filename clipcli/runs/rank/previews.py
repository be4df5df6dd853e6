"""`--preview`: hits as thumbnails on the terminal, after all rows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.errors import ImageError
from clipcli.output.terminal_images import SLOT_PIXELS, Thumbnail, draw, why_none

if TYPE_CHECKING:
    from typing import Literal

    from PIL import Image

    from clipcli.core.console import Console
    from clipcli.runs.rank.rows import Hit, Result

_SHOWN = 24
"""Thumbnails of one query: a screen or two."""


@dataclass
class Preview:
    """Keeps the first hits of every query until they are shown."""

    console: Console
    orient: bool = True
    fetch: bool = False
    """True if URLs named by a vector file are fetched."""
    _results: list[tuple[str, tuple[Hit, ...], int]] = field(default_factory=list)
    _texts: bool = False

    def add(self, result: Result, kind: Literal["image", "text"]) -> None:
        """Add the hits of one query."""
        self._texts |= kind == "text"
        self._results.append((result.query.name, result.hits[:_SHOWN], len(result.hits)))

    def show(self) -> None:
        """Draw all thumbnails, or print the reason why none can be shown."""
        reason = "texts were searched" if self._texts else why_none()
        if reason is not None:
            self.console.info(f"no preview: {reason}")
            return
        for query, hits, count in self._results:
            if hits:
                more = f" (the first {_SHOWN} of {count:,})" if count > len(hits) else ""
                draw(query + more, [self._thumbnail(hit) for hit in hits])

    def _thumbnail(self, hit: Hit) -> Thumbnail:
        name = os.path.basename(hit.name) or hit.name  # noqa: PTH119 - any bytes included
        picture = None if hit.is_far and not self.fetch else self._picture(hit.path)
        return Thumbnail(picture, (f"{hit.rank}  {hit.score:.4f}" + ("" if picture else "  cannot be shown"), name))

    def _picture(self, path: str) -> Image.Image | None:
        from clipcli import images

        try:
            draft = (2 * SLOT_PIXELS, 2 * SLOT_PIXELS)
            picture = images.decode(images.read(path), orient=self.orient, draft=draft, rendering=images.ON_WHITE)
            picture.thumbnail((SLOT_PIXELS, SLOT_PIXELS))
            return picture.convert("RGB")
        except (ImageError, OSError, ValueError):
            return None
