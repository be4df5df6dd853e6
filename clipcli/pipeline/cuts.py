"""Texts that are longer than the model's context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.encoder import Encoder

_SHOWN = 60
"""Characters of a text that fit into a line."""


@dataclass
class Cuts:
    """Says once a run that texts are cut, with the first of them."""

    say: Callable[[str], None]
    _said: bool = False

    def look_for(self, encoder: Encoder, texts: Sequence[str]) -> None:
        """Count tokens where a text may have too many."""
        if self._said:
            return
        limit = encoder.info.context_length
        # A token is at least one byte, so that short texts need no counting.
        candidates = [text for text in texts if len(text.encode("utf-8", "replace")) > limit - 2]
        long = [text for text, count in zip(candidates, encoder.count_tokens(candidates), strict=True) if count > limit]
        if long:
            self._said = True
            shown = long[0] if len(long[0]) <= _SHOWN else f"{long[0][: _SHOWN - 3]}…"
            more = f", and {len(long) - 1} more so far" if len(long) > 1 else ""
            self.say(f"longer than the model's {limit} tokens, cut there: {shown!r}{more}")
