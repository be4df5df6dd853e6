"""Two sides that are compared: which inputs are references, and whether anything was compared at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipcli.plan.states import resolve
from clipcli.sources.places import is_url
from clipcli.tasks.dedupe.keep import is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.inputs import ImageRef


def inner_reference(folders: Sequence[str], against: str | None) -> str | None:
    """Return the real path of a reference folder that lies inside one of the folders that are searched; else None.

    Args:
        folders: real paths of the inputs that are folders.
        against: as `--against` names it.
    """
    if against is None or is_url(against) or not os.path.isdir(against):  # noqa: PTH112 - any bytes
        return None
    folder = os.path.realpath(against)
    return folder if any(folder != other and is_inside(folder, other) for other in folders) else None


def outside(refs: Iterable[ImageRef], folder: str | None) -> Iterator[ImageRef]:
    """Yield the images that do not lie in a folder: what lies in the reference is a reference."""
    for ref in refs:
        if folder is None or ref.source is not None or not is_inside(resolve(ref.path), folder):
            yield ref
