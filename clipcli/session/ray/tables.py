"""Encode references for the workers, and their vectors or errors, as Arrow tables.

References are encoded as JSON, not pickled, so that a table holds data only; names may hold any bytes. Both sides must
run the same clipcli, which the caller checks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from clipcli.core.arrow import pyarrow
from clipcli.errors import ImageError
from clipcli.inputs.sources.expand import RemoteObject
from clipcli.inputs.sources.parquet import Cell
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.sources.tar import TarMember
from clipcli.session.pipeline import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.errors import Stage
    from clipcli.inputs.sources.refs import ByteSource

_KINDS: Final[dict[str, Any]] = {"object": RemoteObject, "member": TarMember, "cell": Cell}


def to_json(ref: ImageRef) -> str:
    """Return a reference as ASCII JSON, including undecodable bytes of names."""
    return json.dumps([ref.path, ref.name, ref.problem, _source_to_json(ref.source)])


def from_json(text: str) -> ImageRef:
    """Decode a reference. Raises ValueError, TypeError or KeyError for other texts."""
    path, name, problem, source = json.loads(text)
    return ImageRef(path, name, problem, None if source is None else _KINDS[source[0]](*source[1:]))


def _source_to_json(source: ByteSource | None) -> list[Any] | None:
    if source is None:
        return None
    kind = next(name for name, known in _KINDS.items() if type(source) is known)
    values: Any = source
    return [kind, *(getattr(values, field.name) for field in fields(values))]


@dataclass(frozen=True)
class WorkerStats:
    """A worker's statistics, sent once per task."""

    read: float
    """Seconds, summed over threads; the same for `decode` and `model`."""
    decode: float
    model: float
    encoded: int
    cached: int
    restarts: str = ""
    """The name of the worker if it replaces a dead one; empty otherwise."""


def ref_tables(refs: Iterable[ImageRef], rows: int, at_most: int) -> list[Any]:
    """Return the next references as at most `at_most` tables of `rows` each; empty at the end."""
    stream = iter(refs)
    arrow = pyarrow()
    tables: list[Any] = []
    while len(tables) < at_most and (batch := list(islice(stream, rows))):
        tables.append(arrow.table({"ref": arrow.array(list(map(to_json, batch)), arrow.string())}))
    return tables


def refs_of(table: Any) -> list[ImageRef]:
    """Return the references of a table."""
    return [from_json(text) for text in table.column("ref").to_pylist()]


def result_table(refs: Any, results: Sequence[Embedded], dim: int, stats: WorkerStats) -> Any:
    """Return a table of results, with their references.

    Args:
        refs: the column of references.
        results: one result per reference.
        dim: length of a vector.
        stats: statistics, stored in the first row.
    """
    arrow = pyarrow()
    vectors = np.zeros((len(results), dim), np.float32)
    for row, result in enumerate(results):
        if result.vector is not None:
            vectors[row] = result.vector
    flat = arrow.array(vectors.reshape(-1), arrow.float32())
    stats_column = [json.dumps(asdict(stats))] + [""] * (len(results) - 1)
    return arrow.table(
        {
            "ref": refs,
            "digest": arrow.array([result.digest for result in results], arrow.string()),
            "stage": arrow.array([result.error.stage if result.error else None for result in results], arrow.string()),
            "reason": arrow.array(
                [_utf8(result.error.reason) if result.error else None for result in results], arrow.string()
            ),
            "vector": arrow.FixedSizeListArray.from_arrays(flat, dim),
            "aside": arrow.array(stats_column, arrow.string()),
        }
    )


def results_of(table: Any) -> Iterator[Embedded]:
    """Yield the results of a table."""
    column = table.column("vector").combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    digests, stages, reasons = (table.column(name).to_pylist() for name in ("digest", "stage", "reason"))
    for row, ref in enumerate(refs_of(table)):
        if stages[row] is None:
            yield Embedded(ref, vectors[row], None, digests[row])
        else:
            yield Embedded(ref, None, ImageError(cast("Stage", stages[row]), reasons[row]), digests[row])


def stats_of(table: Any) -> list[WorkerStats]:
    """Return the statistics in a table."""
    return [WorkerStats(**json.loads(text)) for text in table.column("aside").to_pylist() if text]


def _utf8(text: str) -> str:
    """Return a text with undecodable bytes escaped; a reason may quote such a name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
