"""An approximate index over a vector file: `clipcli index` makes it, `rank` searches it.

A folder with `graph.usearch` (an HNSW graph: Malkov and Yashunin, arXiv:1603.09320; vectors in half precision, mapped
when searched), `names.json`, and `index.json`: its model and vector file, and its recall against an exact search.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clipcli.core.decode import DecodeError, decode, is_file_name, parse_json
from clipcli.core.files import is_there, own_error, read_bytes, sha256_of
from clipcli.core.optional_packages import require_packages
from clipcli.core.vectors import unit_length
from clipcli.errors import InputsError, OutputError, VectorsError
from clipcli.tasks.search.flat import Hits, SearchLimits, exact_scores, rows_a_block, search
from clipcli.vectorfiles.info import ImageReading
from clipcli.vectorfiles.names import read_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipcli.core.vectors import Vector, Vectors
    from clipcli.tasks.search.flat import Rows
    from clipcli.vectorfiles import VectorFile

_DESCRIPTION, _GRAPH, _NAMES = "index.json", "graph.usearch", "names.json"
_FORMAT, _VERSION = "clipcli index", 2
"""Version 1 had no checksum of the graph."""
_AGAIN = "make it again with clipcli index"
_LARGEST_DESCRIPTION = 1 << 20
_WIDEST = 1 << 20
_CONNECTIVITY = 32
_EXPANSION_ADD = 128
_EXPANSIONS = (256, 512, 1024, 2048)
"""Values of `expansion_search` to try until recall is enough. The first is large because text vectors lie far from all
image vectors: at 128, image queries find all of their ten nearest, text queries 86 %."""
_SAMPLE = 200
_DEPTH = 10
_SPARE = 4
"""Candidates per requested hit: exact scores then put them in order."""


@dataclass(frozen=True)
class IndexInfo:
    """The content of `index.json`."""

    model: str
    fingerprint: str
    kind: Literal["image", "text"]
    dim: int
    rows: int
    source: str
    """The vector file, relative to the index."""
    source_size: int
    source_mtime_ns: int
    expansion: int
    recall: float
    """Share of the ten best of an exact search that were found, over a sample of the rows as queries."""
    graph_sha256: str = ""
    """Digest of the graph file, which usearch maps and trusts without checks of its own."""
    pixels: str = ""
    """Rendering to RGB and decoders used, copied from the vector file; see `VectorsInfo`."""
    decoding: str = ""

    @property
    def reading(self) -> ImageReading:
        """Return how the images were read."""
        return ImageReading(self.pixels, self.decoding)


class Index:
    """An index on disk."""

    def __init__(self, folder: str) -> None:
        self.path = folder
        self.info = _read(Path(folder))
        require_packages("index", "an index", VectorsError)
        self._refuse_stale()

    @cached_property
    def names(self) -> Sequence[str]:
        """Return the name of each row."""
        path = Path(self.path) / _NAMES
        with own_error(VectorsError, self.path, hint=_AGAIN):
            names = read_names(np.memmap(path, np.uint8, "r"), self.info.rows, str(path))
        if len(names) != self.info.rows:
            raise VectorsError(f"{self.path}: its parts do not belong together", hint=_AGAIN)
        return names

    def file(self, row: int) -> str:
        """Return the path of a row: as named, or relative to the folder of the vector file if it exists only there."""
        name = self.names[row]
        beside = os.path.join(self.path, os.path.dirname(self.info.source), name)  # noqa: PTH118, PTH120
        return beside if not os.path.exists(name) and os.path.exists(beside) else name  # noqa: PTH110

    def search(self, query: Vector, top: int, floor: float, counts: Callable[[int], bool]) -> Hits:
        """Return the best rows that pass `counts` and the floor, as far as the graph finds them, scored in float64."""
        query = np.require(query, np.float32, ["C", "A"])
        candidates = top * _SPARE
        while True:
            rows = np.asarray(self._graph.search(query, min(candidates, self.info.rows)).keys, np.int64)
            rows = rows[[counts(row) for row in rows.tolist()]] if len(rows) else rows
            if len(rows) >= top or candidates >= self.info.rows:
                break
            candidates *= _SPARE
        scores = exact_scores(np.repeat(query[None], len(rows), axis=0), self._vectors(rows))
        rows, scores = rows[scores >= floor], scores[scores >= floor]
        best = sorted(zip((-scores).tolist(), map(self.names.__getitem__, rows.tolist()), rows.tolist(), strict=True))[
            :top
        ]
        return Hits(np.array([row for *_, row in best], np.int64), -np.array([score for score, *_ in best], np.float32))

    def _vectors(self, rows: Rows) -> Vectors:
        if not len(rows):
            return np.empty((0, self.info.dim), np.float32)
        return unit_length(np.asarray(self._graph.get(rows), np.float32))

    @cached_property
    def _graph(self) -> Any:
        usearch, path = _usearch(), Path(self.path) / _GRAPH
        with own_error(VectorsError, self.path, hint=_AGAIN):
            if sha256_of(path) != self.info.graph_sha256:
                raise DecodeError("its graph is not the one that was made with it")
            graph = usearch.Index.restore(str(path), view=True)
        if graph is None or len(graph) != self.info.rows or graph.ndim != self.info.dim:
            raise VectorsError(f"{self.path}: its parts do not belong together", hint=_AGAIN)
        graph.expansion_search = self.info.expansion
        return graph

    def _refuse_stale(self) -> None:
        """Raise VectorsError if the vector file has changed: the index would name the wrong images."""
        source = Path(self.path) / self.info.source
        if is_there(source):
            now = source.stat()
            if (now.st_size, now.st_mtime_ns) != (self.info.source_size, self.info.source_mtime_ns):
                raise VectorsError(
                    f"{self.path}: {source} has changed since", hint=f"clipcli index {source} -o {self.path}"
                )


def is_index(path: str) -> bool:
    """Return whether an argument is an index."""
    return os.path.isfile(os.path.join(path, _DESCRIPTION)) and os.path.exists(os.path.join(path, _GRAPH))  # noqa: PTH110, PTH113, PTH118


def build(file: VectorFile, folder: str, enough: float, advance: Callable[[int], object]) -> IndexInfo:
    """Write an index of a vector file, whole or not at all; only an older index is replaced.

    Args:
        file: the vectors.
        folder: the folder to write.
        enough: recall from which the search is not widened any further.
        advance: called with the number of rows added.

    Raises:
        OutputError: the folder is something else, or cannot be written.
        VectorsError: a row that is not finite or zero, or usearch is not installed.
    """
    target = Path(folder)
    if is_there(target) and not is_index(folder):
        raise OutputError(f"{folder} is there and is no index", hint="name a new folder")
    usearch = _usearch()
    _make_room(target)
    graph = usearch.Index(
        ndim=file.dim, metric="ip", dtype="f16", connectivity=_CONNECTIVITY, expansion_add=_EXPANSION_ADD
    )
    for start, block in file.blocks():
        vectors = block if file.info.unit_length else unit_length(block)
        vectors = np.require(vectors, np.float32, ["C", "A"])  # mapped numbers of an .npz begin anywhere
        graph.add(np.arange(start, start + len(vectors), dtype=np.uint64), vectors)
        advance(len(vectors))
    expansion, recall = _measure(graph, file, enough)
    stat = _stat(file)
    source = os.path.relpath(file.path, folder)
    info = IndexInfo(
        file.model, file.fingerprint, file.kind, file.dim, len(file), source, stat.st_size, stat.st_mtime_ns,
        expansion, recall, pixels=file.info.pixels, decoding=file.info.decoding,
    )  # fmt: skip
    return _write(target, graph, file.names, info)


def _stat(file: VectorFile) -> os.stat_result:
    try:
        return Path(file.path).stat()
    except OSError as error:
        raise VectorsError(f"{file.path}: is not on this machine", hint="an index needs a local file") from error


def _make_room(target: Path) -> None:
    """Make the parent folder of the index, so that a failure is known before hours of work."""
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error


def _write(target: Path, graph: Any, names: Sequence[str], info: IndexInfo) -> IndexInfo:
    """Write the index into a temporary folder, then move it to `target`."""
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as part:
            folder = Path(part) / "index"
            folder.mkdir()
            graph.save(str(folder / _GRAPH))
            (folder / _NAMES).write_text("[" + ",\n".join(map(json.dumps, names)) + "]", "utf-8")
            info = replace(info, graph_sha256=sha256_of(folder / _GRAPH))
            record = {"format": _FORMAT, "version": _VERSION, **asdict(info)}
            (folder / _DESCRIPTION).write_text(json.dumps(record), "utf-8")
            _install(folder, target, Path(part) / "old")
            return info
    except OSError as error:
        raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error


def _install(folder: Path, target: Path, backup: Path) -> None:
    """Move the folder to `target`; an older index is renamed first, so that it is never half removed.

    Windows lets no folder be renamed while another program has a file in it open.

    Raises:
        OSError: the folder cannot be moved; the older index stays whole.
    """
    if is_there(target):
        target.rename(backup)
    try:
        folder.rename(target)
    except OSError:
        if is_there(backup):
            backup.rename(target)
        raise


def _measure(graph: Any, file: VectorFile, enough: float) -> tuple[int, float]:
    """Return the smallest expansion whose recall against an exact search is enough, and that recall."""
    rows = np.unique(np.linspace(0, len(file) - 1, min(_SAMPLE, len(file))).astype(np.int64))
    queries = np.empty((len(rows), file.dim), np.float32)
    for start, block in file.blocks(check=False):
        inside = (rows >= start) & (rows < start + len(block))
        queries[inside] = unit_length(block[rows[inside] - start])
    block_rows = rows_a_block(file.dim, len(queries))
    exact = search(
        queries,
        ((first, unit_length(block)) for first, block in file.blocks(block_rows, check=False)),
        SearchLimits(_DEPTH),
    )
    recall = 0.0
    for expansion in _EXPANSIONS:
        graph.expansion_search = expansion
        keys = np.atleast_2d(graph.search(queries, min(_DEPTH, len(file))).keys)
        recalls = [np.isin(hits.rows, row_keys).mean() for row_keys, hits in zip(keys, exact, strict=True)]
        recall = float(np.mean(recalls))
        if recall >= enough:
            break
    return expansion, round(recall, 4)


def _read(folder: Path) -> IndexInfo:
    with own_error(VectorsError, str(folder), what="its description is damaged", hint=_AGAIN):
        record = parse_json(read_bytes(folder / _DESCRIPTION, _LARGEST_DESCRIPTION))
        named = {key: record.pop(key, None) for key in ("format", "version")} if isinstance(record, dict) else {}
        if named != {"format": _FORMAT, "version": _VERSION}:
            raise InputsError(f"{folder}: an index of another version", hint=_AGAIN)
        info = decode(IndexInfo, record, unknown="ignore")
        if info.rows < 0 or info.dim < 1 or not is_file_name(info.source) or not 0 < info.expansion <= _WIDEST:
            raise DecodeError("its numbers are out of range")
        return info


def _usearch() -> Any:
    require_packages("index", "an index", VectorsError)
    from usearch import index

    return index
