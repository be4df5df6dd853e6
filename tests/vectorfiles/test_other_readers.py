"""The readers that people use take our files as they are."""

from __future__ import annotations

import json

import numpy as np
import pytest


def test_numpy(sample):
    np.testing.assert_array_equal(np.load(sample.write("out.npy")), sample.vectors())
    beside = json.loads((sample.folder / "out.npy.json").read_text("utf-8"))
    assert (beside["names"], beside["fingerprint"], beside["rows"]) == (sample.names, "0123456789ab", 7)
    with np.load(sample.write("out.npz")) as archive:
        np.testing.assert_array_equal(archive["vectors"], sample.vectors())
        assert archive["names"].tolist() == sample.names
        assert json.loads(str(archive["clipcli"]))["model"] == "ViT-B-32/demo"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pyarrow(sample, dtype):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an optional package")
    table = parquet.read_table(sample.write("out.parquet", dtype))
    assert table.column("image").to_pylist() == [*sample.names[:-1], "bytes\\xff.png"]
    assert table.schema.field("embedding").type.list_size == sample.dim
    assert json.loads(table.schema.metadata[b"clipcli"])["fingerprint"] == "0123456789ab"
    np.testing.assert_array_equal(np.stack(table.column("embedding").to_numpy()), sample.vectors(dtype))


def test_pandas(sample):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    sample.use_plain_names()
    frame = pandas.read_parquet(sample.write("out.parquet"))
    np.testing.assert_array_equal(np.stack(frame["embedding"]), sample.vectors())
    frame = pandas.read_csv(sample.write("out.csv"), dtype={"v0": "float32"})
    good = frame[frame["error"].isna()]
    np.testing.assert_array_equal(good.filter(regex=r"^v\d+$").to_numpy(np.float32), sample.vectors())
    assert frame.loc[frame["error"].notna(), "error"].tolist() == ["decode: no image", "read: no such file"]
    frame = pandas.read_json(sample.write("out.jsonl"), lines=True)
    np.testing.assert_allclose(np.stack(frame["embedding"].dropna()), sample.vectors(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_polars(sample, dtype):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    frame = polars.read_parquet(sample.write("out.parquet", dtype))
    assert frame.schema["embedding"].shape == (sample.dim,)
    np.testing.assert_array_equal(np.array(frame["embedding"].to_list(), dtype), sample.vectors(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_duckdb(sample, dtype):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is an optional package")
    sample.use_plain_names()  # a lone surrogate is legal JSON, but not to duckdb
    rows = duckdb.read_parquet(str(sample.write("out.parquet", dtype))).fetchall()
    np.testing.assert_array_equal(np.array([row[1] for row in rows], dtype), sample.vectors(dtype))
    query = "SELECT image, list_cosine_similarity(embedding, $1) AS score FROM read_parquet($2) ORDER BY score DESC"
    best = duckdb.sql(query, params=[sample.vectors()[3], str(sample.folder / "out.parquet")]).fetchall()
    assert best[0][0] == sample.names[3]
    names = [row[0] for row in duckdb.read_json(str(sample.write("out.jsonl"))).fetchall()]
    assert set(sample.names) < set(names)


def test_safetensors(sample):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    sample.use_shard()
    with safetensors.safe_open(sample.write("out.safetensors"), framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("vectors"), sample.vectors())
        assert json.loads(file.get_tensor("names").tobytes()) == sample.names
        assert file.get_tensor("positions").tolist() == list(sample.positions)
        assert json.loads(file.metadata()["clipcli"])["fingerprint"] == "f" * 12
