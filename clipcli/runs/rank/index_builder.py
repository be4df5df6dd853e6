"""Build an index in bounded memory: two passes over the vectors, and one for each measurement of recall."""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clipcli.core.devices import single_threaded_blas, usable_cores
from clipcli.core.files import is_there
from clipcli.core.vectors import unit_length
from clipcli.errors import OutputError, VectorsError
from clipcli.runs.rank.index import (
    CODES,
    DEPTH,
    DESCRIPTION,
    FORMAT,
    NAMES,
    VECTORS,
    VERSION,
    IndexInfo,
    is_index,
)
from clipcli.tasks.search.flat import SearchLimits, rows_a_block, search
from clipcli.tasks.search.inverted_file import COARSE_PER_ROW, SAMPLE_PER_CELL, InvertedFile, Partition, cell_count
from clipcli.tasks.search.sign_codes import encode_signs, rotation, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clipcli.core.vectors import Scores, Vectors
    from clipcli.tasks.search.flat import Rows
    from clipcli.tasks.search.inverted_file import Estimates
    from clipcli.tasks.search.sign_codes import Codes
    from clipcli.vectorfiles import VectorFile

_A = TypeVar("_A", bound=npt.NDArray[np.floating])
Cells: TypeAlias = npt.NDArray[np.int32]
"""(n,): the cell of each row."""

_LARGEST_SAMPLE: Final = 1 << 28
"""Bytes of the sample that cells are made from."""
_BLOCK_BYTES: Final = 1 << 25
"""Of vectors in float32 that are encoded together, so that the products of a group of cells are large enough."""
_CODES_AT_ONCE: Final = 1 << 20
"""Rows whose codes are put in order together."""
_QUERIES: Final = 200
"""Rows that a search is tuned and measured with, and as many mixtures of rows."""
_FEWEST_CANDIDATES: Final = 256
_MOST_CANDIDATES: Final = 1 << 14
_MARGIN: Final = 0.2
"""Part of the loss that is allowed which is kept in hand by the half of the queries that choose."""
_SPREADS: Final = (0.0, 0.2, 0.4, 0.6)
_CELL_LOSSES: Final = (0.5, 0.65, 0.8, 0.9)
"""Shares of the loss that may be due to cells that are not opened."""
_ROWS_PER_CANDIDATE: Final = 250
"""Rows that are estimated coarsely in the time that one candidate takes for its fine estimates and its cosine."""
_NEAR: Final = 0.5
"""Share of a row in a mixture."""


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
        raise OutputError(f"{folder} exists and is not an index", hint="name a new folder")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as part:
            made = Path(part) / "index"
            made.mkdir()
            cells, cell_of = _write_arrays(file, made, advance)
            setting = _tune(cells, cell_of, file, enough)
            info = IndexInfo(
                file.model, file.fingerprint, file.kind, file.dim, len(file), os.path.relpath(file.path, folder),
                source.st_size, source.st_mtime_ns, len(cells.centres), *setting,
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
    """What is known of each row and cell after the second pass."""

    cells: Cells
    factors: Scores
    squares: npt.NDArray[np.float64]
    """(cells,): sums of the squared distances of a cell's rows from its centre."""
    codes: Codes
    """(n, words), mapped."""


def _write_arrays(file: VectorFile, folder: Path, advance: Callable[[int], object]) -> tuple[InvertedFile, Cells]:
    """Write all arrays; return the inverted file, its codes mapped, and the cell of each row."""
    partition = Partition.of(_sample(file), cell_count(len(file)))
    turn = rotation(file.dim)
    encoded = _encode(file, partition, turn, folder, advance)
    order = np.argsort(encoded.cells, kind="stable")
    counts = np.bincount(encoded.cells, minlength=len(partition.centres))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    arrays: dict[str, Any] = {
        "rotation": turn, "centres": partition.centres, "starts": starts, "rows": order,
        "factors": encoded.factors[order],
        "radii": np.asarray(np.sqrt(encoded.squares / np.maximum(counts, 1)), np.float32),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    _write_codes(encoded.codes, order, folder / CODES)
    cell_of = encoded.cells
    del encoded
    (folder / "codes.part").unlink()
    return InvertedFile(**arrays, codes=np.lib.format.open_memmap(folder / CODES, mode="r"), spread=0.0), cell_of


def _sample(file: VectorFile) -> npt.NDArray[np.float16]:
    """Return (s, dim) unit vectors of random rows; every row of the file is checked."""
    count = min(len(file), SAMPLE_PER_CELL * cell_count(len(file)), max(_LARGEST_SAMPLE // (2 * file.dim), 1))
    rows = np.sort(np.random.default_rng(20).choice(len(file), count, replace=False))
    return _fill(np.empty((count, file.dim), np.float16), file.blocks(), rows)


def _fill(taken: _A, blocks: Iterable[tuple[int, Vectors]], rows: Rows) -> _A:
    """Fill an array with the unit vectors of ascending rows of a file, and return it."""
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
    sums = np.zeros(len(turned))
    part, cores = folder / "codes.part", usable_cores()

    def encode(rows: Vectors) -> tuple[bytes, Cells, Codes, Scores, Scores]:
        vectors = unit_length(rows)
        nearest = partition.assign(vectors)
        return vectors.astype(np.float16).tobytes(), nearest, *encode_signs(vectors @ turn - turned[nearest])

    with (
        (folder / VECTORS).open("wb") as vectors_file, part.open("wb") as codes_file,
        single_threaded_blas(), ThreadPoolExecutor(cores) as pool,
    ):  # fmt: skip
        _write_header(vectors_file, np.float16, (len(file), file.dim))
        for start, block in file.blocks(max(_BLOCK_BYTES // (4 * file.dim), 1), check=False):
            row = start
            for halves, nearest, codes, own_factors, squares in pool.map(encode, np.array_split(block, cores)):
                rows = slice(row, row + len(nearest))
                cells[rows], factors[rows], row = nearest, own_factors, rows.stop
                sums += np.bincount(nearest, squares, len(sums))
                vectors_file.write(halves)
                codes_file.write(codes.tobytes())
            advance(len(block))
    codes = np.memmap(part, np.uint64, "r", shape=(len(file), words_of(file.dim)))
    return _Encoded(cells, factors, sums, codes)


def _write_codes(codes: Codes, order: Rows, path: Path) -> None:
    """Write (n, words) codes in the given order of rows, one word of all rows after the other."""
    with path.open("wb") as stream:
        _write_header(stream, np.uint64, codes.T.shape)
        for word in range(codes.shape[1]):
            for start in range(0, len(order), _CODES_AT_ONCE):
                stream.write(codes[order[start : start + _CODES_AT_ONCE], word].tobytes())


def _write_header(stream: IO[bytes], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Begin a .npy file whose numbers follow."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


@dataclass(frozen=True)
class _Wanted:
    """The true hits of the queries that a search is tuned with, hit by hit."""

    queries: Vectors
    hits: list[Rows]
    cells: list[Cells]
    """The cell of each hit."""
    groups: list[npt.NDArray[np.bool_]]
    """Hits of rows as queries and of mixtures."""
    chooses: npt.NDArray[np.bool_]
    """Hits of the queries that choose; the others measure."""

    @classmethod
    def of(cls, cell_of: Cells, file: VectorFile) -> _Wanted:
        queries, own = _queries(file)
        blocks = file.blocks(rows_a_block(file.dim, len(queries)), check=False)
        limits = SearchLimits(
            DEPTH, excluded=[own[[query]] if query < len(own) else own[:0] for query in range(len(queries))]
        )
        exact = search(queries, ((first, unit_length(block)) for first, block in blocks), limits)
        owner = np.repeat(np.arange(len(queries)), [len(hits.rows) for hits in exact])
        is_mixture = owner >= len(own)
        return cls(
            queries, [hits.rows for hits in exact], [cell_of[hits.rows] for hits in exact],
            [~is_mixture, is_mixture], owner % 2 == 0,
        )  # fmt: skip

    def needed(self, ranks: Rows, loss: float) -> int:
        """Return how many have to be looked at so that each kind of query loses at most this share of its hits.

        The queries that choose keep a part of the loss in hand; those that measure only have to confirm it.
        """
        shares = ((self.chooses, 1 - loss * (1 - _MARGIN)), (~self.chooses, 1 - loss))
        return max(_needed(ranks[group & half], share) for group in self.groups for half, share in shares)

    def recall(self, is_hit: npt.NDArray[np.bool_]) -> float:
        """Return the lower of the shares of both kinds, of the queries that measure."""
        groups = [group & ~self.chooses for group in self.groups]
        return round(min((float(is_hit[group].mean()) for group in groups if group.any()), default=1.0), 4)


def _tune(cells: InvertedFile, cell_of: Cells, file: VectorFile, enough: float) -> tuple[int, int, float, float]:
    """Return the cells and candidates per query that take least work for a recall, this recall, and the spread.

    What is lost is lost by cells that are not opened or by estimates that are off; how much by which is chosen as well.
    """
    wanted, loss = _Wanted.of(cell_of, file), 1 - enough
    spreads = {spread: _cell_ranks(replace(cells, spread=spread), wanted) for spread in _SPREADS}
    half = {spread: wanted.needed(ranks, loss * _CELL_LOSSES[0]) for spread, ranks in spreads.items()}
    spread = min(half, key=lambda spread: (half[spread], spread))
    cells, cell_ranks = replace(cells, spread=spread), spreads[spread]
    probes = [wanted.needed(cell_ranks, loss * share) for share in _CELL_LOSSES]
    row_ranks, work = _row_ranks(cells, wanted, probes)
    candidates = [max(_FEWEST_CANDIDATES, wanted.needed(ranks, loss)) for ranks in row_ranks]
    best = min(range(len(probes)), key=lambda n: work[n] + _ROWS_PER_CANDIDATE * candidates[n])
    recall = wanted.recall(row_ranks[best] < candidates[best])
    return probes[best], min(candidates[best], len(file)), recall, spread


def _queries(file: VectorFile) -> tuple[Vectors, Rows]:
    """Return (2 × rows, dim) queries, rows of the file and then mixtures of rows, and the numbers of the rows."""
    own = np.unique(np.linspace(0, len(file) - 1, min(_QUERIES, len(file))).astype(np.int64))
    rows = _fill(np.empty((len(own), file.dim), np.float32), file.blocks(check=False), own)
    shuffled = [np.random.default_rng(seed).permutation(rows) for seed in (21, 22)]
    away = unit_length(shuffled[0] - shuffled[1])
    return np.concatenate([rows, unit_length(_NEAR * rows + (1 - _NEAR**2) ** 0.5 * away)]), own


def _cell_ranks(cells: InvertedFile, wanted: _Wanted) -> Rows:
    """Return, hit by hit, how many cells its query opens before the hit's."""
    ranks = []
    for query, own in zip(wanted.queries, wanted.cells, strict=True):
        scores = cells.cell_scores(query)
        ranks.append((scores > scores[own][:, None]).sum(axis=1))
    return np.concatenate(ranks)


def _row_ranks(cells: InvertedFile, wanted: _Wanted, probes: list[int]) -> tuple[list[Rows], list[float]]:
    """Return, for each number of cells opened, how many candidates each hit needs, and the rows in the cells."""
    ranks: list[list[Rows]] = [[] for _ in probes]
    work = np.zeros(len(probes))
    sizes = np.diff(cells.starts)
    for query, hits in zip(wanted.queries, wanted.hits, strict=True):
        scores = cells.cell_scores(query)
        order = np.argsort(-scores, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        work += np.cumsum(sizes[order])[np.array(probes) - 1] / len(wanted.queries)
        estimates = cells.estimates(query, max(probes), COARSE_PER_ROW * _MOST_CANDIDATES)
        opened = place[estimates.cells]
        for own, count in zip(ranks, probes, strict=True):
            own.append(_candidates_needed(estimates, hits, opened < count))
    return [np.concatenate(own) for own in ranks], work.tolist()


def _candidates_needed(estimates: Estimates, wanted: Rows, is_open: npt.NDArray[np.bool_]) -> Rows:
    """Return how many candidates come before each wanted row; more than there are where it is in no open cell."""
    ranks = np.full(len(wanted), np.iinfo(np.int64).max)
    for number, row in enumerate(wanted.tolist()):
        position = np.flatnonzero((estimates.rows == row) & is_open)  # quicker for ten rows than sorting all
        if len(position):
            coarse = np.count_nonzero((estimates.coarse > estimates.coarse[position[0]]) & is_open)
            fine = np.count_nonzero((estimates.fine > estimates.fine[position[0]]) & is_open)
            ranks[number] = max(coarse // COARSE_PER_ROW, fine)
    return ranks


def _needed(ranks: Rows, share: float) -> int:
    """Return how many have to be looked at so that this share of the ranks is among them; at least one."""
    if not len(ranks):
        return 1
    rank = int(np.quantile(ranks, share, method="higher"))
    return rank + 1 if rank < np.iinfo(np.int64).max else int(ranks[ranks < np.iinfo(np.int64).max].max(initial=0)) + 1
