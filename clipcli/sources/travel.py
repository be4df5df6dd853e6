"""Image references as text, to be sent to another process: what an image is read from, by name, and its fields."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from clipcli.sources.finding import RemoteObject
from clipcli.sources.refs import ImageRef
from clipcli.sources.shards import Member
from clipcli.sources.tables import Cell

if TYPE_CHECKING:
    from clipcli.sources.refs import Source

_KINDS: Final[dict[str, Any]] = {"object": RemoteObject, "member": Member, "cell": Cell}


def to_json(ref: ImageRef) -> str:
    """A reference as ASCII, undecodable bytes of names included."""
    return json.dumps([ref.path, ref.name, ref.problem, _source_to_json(ref.source)])


def from_json(text: str) -> ImageRef:
    """The reference again. Raises ValueError, TypeError or KeyError where the text is none."""
    path, name, problem, source = json.loads(text)
    return ImageRef(path, name, problem, None if source is None else _KINDS[source[0]](*source[1:]))


def _source_to_json(source: Source | None) -> list[Any] | None:
    if source is None:
        return None
    kind = next(name for name, known in _KINDS.items() if type(source) is known)
    values: Any = source
    return [kind, *(getattr(values, field.name) for field in fields(values))]
