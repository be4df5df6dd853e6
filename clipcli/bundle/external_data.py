"""Where an ONNX file says its weights lie: a walk over the protobuf wire format that needs neither onnx nor protobuf.

Field numbers are those of onnx.proto (ONNX 1.x, unchanged since external data came with IR version 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Message → field number → message, for every path that can lead to a tensor."""


@dataclass(frozen=True)
class Extent:
    """One tensor's bytes in a file beside the graph."""

    location: str
    offset: int
    length: int


def extents(graph: bytes) -> Iterator[Extent]:
    """Every external tensor of a serialised ModelProto. Raises ValueError where the bytes are no such message."""
    try:
        for entries in _external(memoryview(graph), "model"):
            yield Extent(entries.get("location", ""), int(entries.get("offset", "0")), int(entries.get("length", "0")))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not an ONNX graph: {error}") from error


def _external(message: memoryview, kind: str) -> Iterator[dict[str, str]]:
    nested = _NESTED[kind]
    entries: dict[str, str] = {}
    for number, body in _fields(message):
        inner = nested.get(number)
        if inner == "external":
            pair = {field: bytes(part).decode() for field, part in _fields(body)}
            entries[pair.get(1, "")] = pair.get(2, "")
        elif inner:
            yield from _external(body, inner)
    if entries:
        yield entries


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, bytes) of every length-delimited field; numbers are stepped over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("not an ONNX graph: it ends inside a field")
            yield number, message[at : at + size]
            at += size
        elif wire in {_FIXED32, _FIXED64}:
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"not an ONNX graph: wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more bytes follow
            return value, at
        shift += 7
