"""Build an index in bounded memory: two passes over the vectors, and one for each measurement of recall."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from clipcli.core.files import is_there
from clipcli.core.vectors import unit_length
from clipcli.errors import OutputError, VectorsError
from clipcli.runs.rank.index import (
    CODES,
    DESCRIPTION,
    FORMAT,
    NAMES,
    VECTORS,
    VERSION,
    IndexInfo,
    candidates_for,
    is_index,
    rescored,
)
from clipcli.tasks.search.flat import SearchLimits, rows_a_block, search
from clipcli.tasks.search.inverted_file import SAMPLE_PER_CELL, InvertedFile, Partition, cell_count
from clipcli.tasks.search.sign_codes import encode_signs, rotation, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from clipcli.core.vectors import Scores, Vectors
    from clipcli.tasks.search.flat import Rows
    from clipcli.tasks.search.sign_codes import Codes
    from clipcli.vectorfiles import VectorFile

_LARGEST_SAMPLE: Final = 1 << 28
"""Bytes of the sample that cells are made from."""
_CODES_AT_ONCE: Final = 1 << 20
"""Rows whose codes are put in order together."""
_QUERIES: Final = 100
"""Rows that recall is measured with, and as many directions far from all rows."""
_DEPTH: Final = 10
_FIRST_PROBES: Final = 8
_NEAR: Final = 0.3
"""Cosine of a far query with the row that it came from: texts and images of CLIP models are about as far apart."""


def build(file: VectorFile, folder: str, enough: float, advance: Callable[[int], object]) -> IndexInfo:
    """Write an index of a vector file, whole or not at all; only an older index is replaced.

    Args:
        file: the vectors.
        folder: the folder to write.
        enough: recall from which no more cells are searched.
        advance: called with the number of rows added.

    Raises:
        OutputError: the folder is something else, or cannot be written.
        VectorsError: a row that is not finite or zero.
    """
    target, source = Path(folder), _stat(file)
    if is_there(target) and not is_index(folder):
        raise OutputError(f"{folder} is there and is no index", hint="name a new folder")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as part:
            made = Path(part) / "index"
            made.mkdir()
            cells = _write_arrays(file, made, advance)
            probes, recall = _measure(cells, np.lib.format.open_memmap(made / VECTORS, mode="r"), file, enough)
            info = IndexInfo(
                file.model, file.fingerprint, file.kind, file.dim, len(file), os.path.relpath(file.path, folder),
                source.st_size, source.st_mtime_ns, len(cells.centres), probes, recall,
                pixels=file.info.pixels, decoding=file.info.decoding,
            )  # fmt: skip
            _write_names(file.names, made / NAMES)
            record = {"format": FORMAT, "version": VERSION, **asdict(info)}
            (made / DESCRIPTION).write_text(json.dumps(record), "utf-8")
            del cells  # Windows lets no folder be renamed while a file in it is mapped
            install(made, target, Path(part) / "old")
            return info
    except OSError as error:
        raise OutputError(f"cannot write {target}: {(error.strerror or str(error)).lower()}") from error


def _stat(file: VectorFile) -> os.stat_result:
    try:
        return Path(file.path).stat()
    except OSError as error:
        raise VectorsError(f"{file.path}: is not on this machine", hint="an index needs a local file") from error


def _write_names(names: Sequence[str], path: Path) -> None:
    """Write a JSON array with one name per line."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        stream.writelines((",\n" if row else "") + json.dumps(name) for row, name in enumerate(names))
        stream.write("]")


def install(folder: Path, target: Path, backup: Path) -> None:
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


@dataclass
class _Encoded:
    """What is known of each row after the second pass."""

    cells: npt.NDArray[np.int32]
    factors: Scores
    codes: Codes
    """(n, words), mapped."""


def _write_arrays(file: VectorFile, folder: Path, advance: Callable[[int], object]) -> InvertedFile:
    """Write all arrays and return the inverted file, mapped."""
    partition = Partition.of(_sample(file), cell_count(len(file)))
    turn = rotation(file.dim)
    encoded = _encode(file, partition, turn, folder, advance)
    order = np.argsort(encoded.cells, kind="stable")
    counts = np.bincount(encoded.cells, minlength=len(partition.centres))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    arrays: dict[str, Any] = {
        "rotation": turn, "centres": partition.centres, "starts": starts, "rows": order,
        "factors": encoded.factors[order],
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    codes = _codes_by_cell(encoded.codes, order, starts)
    with (folder / CODES).open("wb") as stream:
        _write_header(stream, np.uint64, (len(file) * words_of(file.dim),))
        for block in codes:
            stream.write(block.tobytes())
    del encoded, codes
    (folder / "codes.part").unlink()
    return InvertedFile(**arrays, codes=np.lib.format.open_memmap(folder / CODES, mode="r"))


def _sample(file: VectorFile) -> Vectors:
    """Return (s, dim) unit vectors of random rows; every row of the file is checked."""
    count = min(len(file), SAMPLE_PER_CELL * cell_count(len(file)), max(_LARGEST_SAMPLE // (4 * file.dim), 1))
    rows = np.sort(np.random.default_rng(20).choice(len(file), count, replace=False))
    return _taken(file.blocks(), rows, file.dim)


def _taken(blocks: Iterable[tuple[int, Vectors]], rows: Rows, dim: int) -> Vectors:
    """Return unit vectors of ascending rows of a file."""
    taken = np.empty((len(rows), dim), np.float32)
    for start, block in blocks:
        first, last = np.searchsorted(rows, (start, start + len(block)))
        taken[first:last] = unit_length(block[rows[first:last] - start])
    return taken


def _encode(
    file: VectorFile, partition: Partition, turn: Vectors, folder: Path, advance: Callable[[int], object]
) -> _Encoded:
    """Write the vectors in half precision; return cells, factors and codes in the order of the file."""
    cells, factors = np.empty(len(file), np.int32), np.empty(len(file), np.float32)
    turned = partition.centres @ turn
    part = folder / "codes.part"
    with (folder / VECTORS).open("wb") as vectors_file, part.open("wb") as codes_file:
        _write_header(vectors_file, np.float16, (len(file), file.dim))
        for start, block in file.blocks(check=False):
            rows, vectors = slice(start, start + len(block)), unit_length(block)
            vectors_file.write(vectors.astype(np.float16).tobytes())
            cells[rows] = partition.assign(vectors)
            codes, factors[rows] = encode_signs(vectors @ turn - turned[cells[rows]])
            codes_file.write(codes.tobytes())
            advance(len(block))
    return _Encoded(cells, factors, np.memmap(part, np.uint64, "r", shape=(len(file), words_of(file.dim))))


def _codes_by_cell(codes: Codes, order: Rows, starts: Rows) -> Iterator[Codes]:
    """Yield the codes of each cell, one word of all its rows after the other."""
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _CODES_AT_ONCE, "right")) - 1)
        block = codes[order[starts[first] : starts[last]]]
        for cell in range(first, last):
            yield np.ascontiguousarray(block[starts[cell] - starts[first] : starts[cell + 1] - starts[first]].T)
        first = last


def _write_header(stream: IO[bytes], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Begin a .npy file whose numbers follow."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _measure(
    cells: InvertedFile, vectors: npt.NDArray[np.float16], file: VectorFile, enough: float
) -> tuple[int, float]:
    """Return the smallest number of cells to search whose recall is enough, and that recall."""
    own = np.unique(np.linspace(0, len(file) - 1, min(_QUERIES, len(file))).astype(np.int64))
    near = _taken(file.blocks(check=False), own, file.dim)
    noise = unit_length(np.random.default_rng(21).standard_normal(near.shape))
    queries = np.concatenate([near, unit_length(_NEAR * near + (1 - _NEAR**2) ** 0.5 * noise)])
    blocks = file.blocks(rows_a_block(file.dim, len(queries)), check=False)
    hidden = [own[[query]] if query < len(own) else own[:0] for query in range(len(queries))]
    limits = SearchLimits(_DEPTH, excluded=hidden)
    exact = search(queries, ((first, unit_length(block)) for first, block in blocks), limits)
    probes, recall = min(_FIRST_PROBES, len(cells.centres)), 0.0
    while True:
        shares = np.ones(len(queries))
        for number, (query, hits) in enumerate(zip(queries, exact, strict=True)):
            rows = cells.candidates(query, probes, candidates_for(_DEPTH))
            rows = rescored(vectors, np.setdiff1d(rows, hidden[number]), query)[0][:_DEPTH]
            shares[number] = np.isin(hits.rows, rows).mean() if len(hits.rows) else 1.0
        recall = float(min(shares[: len(own)].mean(), shares[len(own) :].mean()))
        if recall >= enough or probes >= len(cells.centres):
            return probes, round(recall, 4)
        probes = min(2 * probes, len(cells.centres))
