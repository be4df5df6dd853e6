"""Everything that clipcli reads and that somebody else may have made: how each reader is called, and on what."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipcli import bundle
from clipcli.cache import EmbeddingCache
from clipcli.config.load import load_config
from clipcli.errors import ClipcliError, ImageError
from clipcli.images.decoder import decode
from clipcli.images.reader import read_file, read_ref
from clipcli.inputs.collect import collect
from clipcli.inputs.expected_labels import parse_expectations
from clipcli.inputs.texts import read_texts
from clipcli.models.spec import TINY_FOLDER
from clipcli.plan.decisions import read_decisions
from clipcli.plan.journal import open_journal
from clipcli.plan.plan_file import read_plan
from clipcli.prompts import Label
from clipcli.prompts.labels import parse_groups, parse_labels
from clipcli.prompts.sets import check_file, load_prompts
from clipcli.runs.classify.learned_files import read_thresholds
from clipcli.runs.rank.index import Index
from clipcli.runs.rank.index_builder import build
from clipcli.runs.rank.queries import read_queries
from clipcli.runs.rank.recall import read_pairs
from clipcli.vectorfiles import VectorRows, VectorsInfo, create_vectors, open_vectors
from clipcli.vectorfiles.info import Failure
from clipcli.vectorfiles.writer import WritePlan

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = Path(__file__).parent.parent.parent / "examples" / "cat.png"
MANY = 3000
"""Rows that are taken from a reader that goes on."""
LABELS = (Label("cat", ("cat",)), Label("dog", ("dog",)))


@dataclass(frozen=True)
class Reader:
    """One kind of file."""

    read: Callable[[Path], object]
    """Raises ClipcliError or ImageError for a bad file, and nothing else."""
    name: str = "document"
    """Of the file, in its folder."""
    prepare: Callable[[Path], None] = lambda _: None
    """Makes what stands around it, and a good file."""
    seal: Callable[[Path], None] = lambda _: None
    """Makes what stands around fit a document."""


def _images(file: Path) -> None:
    for ref in islice(collect([str(file)]), MANY):
        _one_image(ref)


def _list(file: Path) -> None:
    for ref in islice(collect([], files_from=[str(file)]), MANY):
        _one_image(ref)


def _one_image(ref: object) -> None:
    try:
        decode(read_ref(ref))  # type: ignore[arg-type]
    except ImageError:
        return


def _texts(file: Path) -> None:
    for _ in islice(read_texts([], [str(file)], None), MANY):
        pass


def _vectors(file: Path) -> None:
    found = open_vectors(file, empty_ok=True)
    for _ in found.blocks():
        pass
    _ = (list(found.names), found.positions, found.failures, found.matrix())


def _index(file: Path) -> None:
    index = Index(str(file.parent))
    found = index.search(np.ones(index.info.dim, np.float32), 3, -1.0, lambda _: True)
    _ = [index.names[row] for row in found.rows.tolist()]


def _cache(file: Path) -> None:
    said: list[str] = []
    with EmbeddingCache.open(file.parent, say=said.append) as cache:
        cache.put("space", [("00" * 32, np.ones(4, np.float32))])
        cache.get("space", ["00" * 32])
        cache.info()


def _journal(file: Path) -> None:
    with open_journal(file):
        pass


def _bundle(file: Path) -> None:
    from clipcli.engines.onnx import load

    load(bundle.read(file.parent)).encode_texts(["a cat"])


def _made(name: str) -> Callable[[Path], None]:
    """Three vectors, one failure."""

    def prepare(folder: Path) -> None:
        info = VectorsInfo("image", "tiny", "0123456789ab")
        vectors = np.eye(3, 8, dtype=np.float32)
        with create_vectors(Path(name).suffix[1:], WritePlan(folder / name, info, 3, 8, "float32")) as writer:  # type: ignore[arg-type]
            writer.write(VectorRows(["a", "ü", "c"], vectors))
            writer.fail(Failure("bad", "read", "no such file", 3))

    return prepare


def _with_index(folder: Path) -> None:
    _made("v.npy")(folder)
    build(open_vectors(folder / "v.npy"), str(folder / "index"), 0.9, lambda _: None)


def _with_cache(folder: Path) -> None:
    (folder / "cache").mkdir()
    _cache(folder / "cache" / "vectors-1.sqlite")


def _with_bundle(folder: Path) -> None:
    shutil.copytree(TINY_FOLDER, folder / "bundle")


def _with_shard(folder: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(IMAGE, "a/cat.png")
    (folder / "document.tar").write_bytes(stream.getvalue())


def _with_table(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = [IMAGE.read_bytes(), None]
    pq.write_table(pa.table({"image": pa.array(data, pa.binary()), "caption": ["a", "b"]}), folder / "document.parquet")


def _with_image(folder: Path) -> None:
    shutil.copy(IMAGE, folder / "document")


def _resealed(file: Path) -> None:
    """The manifest lists the document with its true size and hash."""
    manifest = file.parent / "manifest.json"
    record = json.loads(manifest.read_text())
    for entry in record["files"]:
        if entry["name"] == file.name:
            entry |= {"size": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(record))


READERS: dict[str, Reader] = {
    "image": Reader(lambda file: decode(read_file(str(file))), prepare=_with_image),
    "list of paths": Reader(_list),
    "tar shard": Reader(_images, "document.tar", _with_shard),
    "table of images": Reader(_images, "document.parquet", _with_table),
    "texts": Reader(_texts),
    "texts in CSV": Reader(_texts, "document.csv"),
    "texts in JSON Lines": Reader(_texts, "document.jsonl"),
    "texts in Parquet": Reader(_texts, "document.parquet", _with_table),
    "captions in a shard": Reader(_texts, "document.tar", _with_shard),
    "labels": Reader(lambda file: parse_labels([], [str(file)])),
    "label groups": Reader(lambda file: parse_groups(str(file), LABELS)),
    "templates": Reader(lambda file: (load_prompts([str(file)]), check_file(str(file))), "document.txt"),
    "templates in JSON": Reader(lambda file: (load_prompts([str(file)]), check_file(str(file))), "document.json"),
    "expected labels in CSV": Reader(lambda file: parse_expectations(str(file)), "document.csv"),
    "expected labels in JSON Lines": Reader(lambda file: parse_expectations(str(file)), "document.jsonl"),
    "queries": Reader(lambda file: read_queries(str(file)), "document.txt"),
    "queries in JSON Lines": Reader(lambda file: read_queries(str(file)), "document.jsonl"),
    "relevance in CSV": Reader(lambda file: read_pairs(str(file)), "document.csv"),
    "relevance in JSON Lines": Reader(lambda file: read_pairs(str(file)), "document.jsonl"),
    "thresholds": Reader(lambda file: read_thresholds(str(file)), "document.json"),
    "configuration": Reader(lambda file: load_config(str(file)), "clipcli.toml"),
    "pyproject": Reader(lambda file: load_config(str(file)), "pyproject.toml"),
    "plan": Reader(read_plan),
    "journal": Reader(_journal),
    "decisions": Reader(read_decisions),
    "vectors in npy": Reader(_vectors, "document.npy", _made("document.npy")),
    "description of npy": Reader(lambda file: _vectors(file.with_name("v.npy")), "v.npy.json", _made("v.npy")),
    "failures of npy": Reader(lambda file: _vectors(file.with_name("v.npy")), "v.npy.errors.jsonl", _made("v.npy")),
    "vectors in npz": Reader(_vectors, "document.npz", _made("document.npz")),
    "vectors in safetensors": Reader(_vectors, "document.safetensors", _made("document.safetensors")),
    "vectors in Parquet": Reader(_vectors, "document.parquet", _made("document.parquet")),
    "vectors in JSON Lines": Reader(_vectors, "document.jsonl", _made("document.jsonl")),
    "vectors in CSV": Reader(_vectors, "document.csv", _made("document.csv")),
    "description of an index": Reader(_index, "index/index.json", _with_index),
    "codes of an index": Reader(_index, "index/codes.npy", _with_index),
    "cells of an index": Reader(_index, "index/starts.npy", _with_index),
    "rows of an index": Reader(_index, "index/rows.npy", _with_index),
    "radii of an index": Reader(_index, "index/radii.npy", _with_index),
    "vectors of an index": Reader(_index, "index/vectors.npy", _with_index),
    "names of an index": Reader(_index, "index/names.json", _with_index),
    "cache": Reader(_cache, "cache/vectors-1.sqlite", _with_cache),
    "manifest of a bundle": Reader(_bundle, "bundle/manifest.json", _with_bundle),
    "graph of a bundle": Reader(_bundle, "bundle/text.onnx", _with_bundle, _resealed),
    "tokenizer of a bundle": Reader(_bundle, "bundle/tokenizer.json", _with_bundle, _resealed),
}


def verdict(reader: Reader, file: Path) -> str | None:
    """What is wrong with what a reader made of a file; None for a good answer, which an error of its own is too."""
    try:
        reader.read(file)
    except (ClipcliError, ImageError) as error:
        words = str(error)
        return None if "\n" not in words and len(words) < 2000 else f"an error of several lines: {words[:300]!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None
