"""Pairs of pictures that the user marked as different: an editable text file of pairs of content digests."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipcli.core.files import read_text
from clipcli.errors import OutputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clipcli.plan.plan_file import Plan

_MAX_FILE_SIZE: Final = 256 << 20
"""Limit in bytes: enough for a million pairs with comments."""
_HEADER: Final = (
    "# Pictures that are not duplicates of each other: pairs of the sha256 of their bytes (dedupe --ignore-file)\n"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Decisions:
    """Pairs of SHA-256 hex digests, each pair sorted, with their comments."""

    pairs: dict[tuple[str, str], str]

    def tells_apart(self, digest: str, other_digest: str) -> bool:
        """Return whether two contents were marked as different."""
        return (min(digest, other_digest), max(digest, other_digest)) in self.pairs


def read_decisions(path: str | Path) -> Decisions:
    """Read a file of pairs; a missing file has none.

    Raises:
        PlanError: the file cannot be read, or a line is not a pair of digests.
    """
    file = Path(path)
    try:
        lines = read_text(file, _MAX_FILE_SIZE).splitlines()
    except FileNotFoundError:
        return Decisions({})
    except (OSError, ValueError) as error:
        raise PlanError(
            f"cannot read {path}", hint="--ignore-file takes a text file with pairs of sha256 digests"
        ) from error
    pairs: dict[tuple[str, str], str] = {}
    for number, line in enumerate(lines, 1):
        words, _, comment = line.partition("#")
        digests = words.split()
        if not digests:
            continue
        if len(digests) != 2 or not all(_DIGEST.fullmatch(word) for word in digests):  # noqa: PLR2004 - a pair
            raise PlanError(
                f"{path}, line {number}: not two sha256 digests of 64 hex digits", hint="a comment begins with #"
            )
        pairs[min(digests), max(digests)] = comment.strip()
    return Decisions(pairs)


def write_decisions(path: str | Path, decisions: Decisions) -> None:
    """Write the file atomically, sorted, so that it merges well in version control. Raises OutputError."""
    file = Path(path)
    lines = [f"{a} {b}" + (f"  # {comment}" if comment else "") for (a, b), comment in sorted(decisions.pairs.items())]
    try:
        handle, part = tempfile.mkstemp(dir=file.resolve().parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(_HEADER + "".join(f"{line}\n" for line in lines))
        Path(part).chmod(0o644)
        Path(part).replace(file)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def decided(plan: Plan, *, keep_all: bool) -> Decisions:
    """Return the pairs that a plan marks as different: rows marked `distinct` with the others of their group.

    With `keep_all`, return every pair of every group. Files with the same bytes are left out.
    """
    pairs: dict[tuple[str, str], str] = {}
    for group in plan.groups:
        rows = {row.sha256: row for row in (*group.kept, *group.removed)}
        for row, other in combinations(rows.values(), 2):
            if keep_all or row.distinct or other.distinct:
                first, second = sorted((row, other), key=attrgetter("sha256"))
                pairs[first.sha256, second.sha256] = _comment(first.image, second.image)
    return Decisions(pairs)


def joined(sources: Iterable[Decisions]) -> Decisions:
    """Merge the pairs of several files; the first comment of a pair is kept."""
    pairs: dict[tuple[str, str], str] = {}
    for decisions in sources:
        pairs = {**decisions.pairs, **pairs}
    return Decisions(pairs)


def _comment(*names: str) -> str:
    decoded: Sequence[str] = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    return " | ".join("".join(c if c.isprintable() else "?" for c in name) for name in decoded)
