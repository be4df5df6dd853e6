"""docs/advanced/scale.md: its figures follow from the results, and each engine takes our Parquet as the page says."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import docs_blocks
import numpy as np
import pytest
from run import ROOT

from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors

PAGE = ROOT / "docs" / "advanced" / "scale.md"
COUNT, DIM = 600, 64
ENGINES = {
    "faiss": ("faiss",),
    "lancedb": ("lancedb",),
    "qdrant_client": ("qdrant_client",),
    "pymilvus": ("pymilvus", "milvus_lite"),
}
BLOCKS = [block for block in docs_blocks.blocks(PAGE) if block.language == "python"]


def test_the_table_is_what_the_model_prints():
    script = ROOT / "benchmarks" / "cost_model.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    table = done.stdout.partition("\n\n")[2].strip()
    assert table in PAGE.read_text(encoding="utf-8"), "put what benchmarks/cost_model.py prints there"


def test_the_rate_of_writing_is_the_measured_one():
    figures = ROOT / "benchmarks" / "results" / "ray.json"
    if not figures.is_file():
        pytest.skip("benchmarks/bench_ray.py has not run")
    measured = statistics.median(json.loads(figures.read_text("utf-8"))["written_a_core_second"])
    (written,) = re.findall(r"takes ([\d,]+) vectors a core-second", PAGE.read_text(encoding="utf-8"))
    assert abs(int(written.replace(",", "")) / measured - 1) < 0.1, f"{measured:,.0f} were measured"


def test_every_engine_has_a_block():
    packages = [re.search(r"^(?:from|import) (\w+)", block.text, re.MULTILINE)[1] for block in BLOCKS[1:]]
    assert packages == list(ENGINES)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors around some centres, as `embed -o photos.parquet` writes them."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((40, DIM))
    vectors = centres[generator.integers(0, 40, COUNT)] + 0.5 * generator.standard_normal((COUNT, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    info = VectorsInfo("image", "tiny", "0123456789ab")
    with create_vectors("parquet", WritePlan(tmp_path / "photos.parquet", info, COUNT, DIM)) as writer:
        writer.write(VectorRows([f"{row}.jpg" for row in range(COUNT)], vectors))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("package", ENGINES)
def test_an_engine_takes_our_parquet_as_it_is(package: str, photos: None):
    missing = [name for name in ("pyarrow", *ENGINES[package]) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    if package == "faiss":
        importlib.import_module("faiss").omp_set_num_threads(1)  # threads that spin are slow on a busy machine
    names: dict[str, object] = {}
    for block in (BLOCKS[0], BLOCKS[1 + list(ENGINES).index(package)]):
        exec(compile(block.text, block.where, "exec"), names)  # noqa: S102 - our own page
    assert names["best"] in {0, "0.jpg"}
