"""The rows of `dedupe` over stored vectors: no plan, since no file was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from clipcli.tasks.dedupe.levels import Level

_DIGITS: Final = 4
_JSON_DIGITS: Final = 6
REASON: Final = "looks alike (vectors only)"


@dataclass(frozen=True)
class VectorDuplicateRow:
    """A row of a vector file in a group of look-alikes."""

    group: int
    """Number of the group, from 1."""
    image: str
    """Its name in the file."""
    kept_image: str
    """The one that stays for it; itself, where it stays."""
    similarity: float
    """Cosine with the one that stays."""
    min_similarity: float
    """The smallest cosine between any two of the group."""
    keep: bool
    level: ClassVar[Level] = "similar"
    columns: ClassVar[tuple[str, ...]] = ("group", "image", "level", "keep", "similarity", "min_similarity")

    @property
    def copy_of(self) -> str | None:
        """In a list of groups: the one that stays for it; None for those that stay."""
        return None if self.keep else self.kept_image

    @property
    def path(self) -> str | None:
        """In a list of bare paths: what may go."""
        return None if self.keep else self.image

    def record(self) -> dict[str, object]:
        """Return the documented JSON object."""
        return {
            "group": self.group, "image": self.image, "level": self.level, "keep": self.keep,
            "similarity": round(self.similarity, _JSON_DIGITS),
            "min_similarity": round(self.min_similarity, _JSON_DIGITS), "reason": REASON, "keeper": self.kept_image,
        }  # fmt: skip

    def cells(self) -> list[tuple[str, ...]]:
        """One line."""
        numbers = (f"{number:.{_DIGITS}f}" for number in (self.similarity, self.min_similarity))
        return [(str(self.group), self.image, self.level, "yes" if self.keep else "no", *numbers)]
