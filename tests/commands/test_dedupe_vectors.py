"""`dedupe` over stored vectors: look-alikes by cosine alone, in the order of the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run import assert_one_error, run

from clipcli.vectorfiles import VectorRows, VectorsInfo, WritePlan, create_vectors
from clipcli.vectorfiles.vector_formats import VectorFormat

COSINES = (0.99, 0.96, 0.93, 0.9)


def vectors() -> tuple[list[str], np.ndarray]:
    """Four pairs with these cosines, one row three times, and ten rows that are like nothing; mixed by a fixed seed."""
    dim, rows = 64, []
    names = []
    for number, cosine in enumerate(COSINES):
        first, second = np.zeros(dim), np.zeros(dim)
        first[2 * number] = 1
        second[2 * number], second[2 * number + 1] = cosine, np.sqrt(1 - cosine**2)
        rows += [first, second]
        names += [f"pair{number}/a.jpg", f"pair{number}/b.jpg"]
    for number in range(3):
        rows.append(np.eye(dim)[20])
        names.append(f"same/{number}.jpg")
    for number in range(10):
        rows.append(np.eye(dim)[30 + number])
        names.append(f"alone/{number}.jpg")
    order = np.random.default_rng(3).permutation(len(rows))
    return [names[row] for row in order], np.array(rows, np.float32)[order]


def write(path: Path, names: list[str], rows: np.ndarray, *, fingerprint: str = "f1", raw: bool = False) -> Path:
    info = VectorsInfo(kind="image", model="some/model", fingerprint=fingerprint, unit_length=not raw)
    chosen: VectorFormat = "parquet" if path.suffix == ".parquet" else "npy"
    with create_vectors(chosen, WritePlan(path, info, len(rows), rows.shape[1])) as writer:
        writer.write(VectorRows(names, rows))
    return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "v.npy", *vectors())
    return tmp_path


def groups(rows: list[dict]) -> set[frozenset[str]]:
    return {frozenset(row["image"] for row in rows if row["group"] == number) for number in {r["group"] for r in rows}}


@pytest.mark.parametrize(("limit", "pairs"), [(0.95, 2), (0.92, 3), (0.89, 4), (0.999, 0)])
def test_groups_are_those_of_all_pairs(world: Path, limit: float, pairs: int):
    result = run("dedupe", "v.npy", "--min-similarity", str(limit), "--format", "jsonl")
    assert result.code == 0, result.stderr
    same = frozenset(f"same/{number}.jpg" for number in range(3))
    assert groups(result.rows) == {same} | {frozenset((f"pair{n}/a.jpg", f"pair{n}/b.jpg")) for n in range(pairs)}
    assert "no pixels" in result.stderr
    names = vectors()[0]
    for row in result.rows:
        assert list(row) == [
            "group", "image", "level", "keep", "similarity", "min_similarity", "reason", "keeper",
        ]  # fmt: skip
        members = [
            name for name in names if any(name in group and row["image"] in group for group in groups(result.rows))
        ]
        assert row["keeper"] == members[0]
        assert row["keep"] == (row["image"] == members[0])
        if row["image"].startswith("pair") and not row["keep"]:
            assert row["similarity"] == pytest.approx(COSINES[int(row["image"][4])], abs=1e-5)


def test_paths_are_what_may_go_and_the_default_is_the_models(world: Path):
    paths = run("dedupe", "v.npy", "--paths").lines
    names = vectors()[0]
    assert len(paths) == 2 + 2  # of some other model, 0.95 is the threshold
    rest = [name for name in names if name not in paths]
    assert len({name.partition("/")[0] for name in rest if name.startswith(("pair", "same"))}) == 5
    table = run("dedupe", "v.npy", "--format", "groups").stdout.strip().split("\n\n")
    assert sorted(len(group.splitlines()) for group in table) == [2, 2, 3]
    assert run("dedupe", "v.npy", "--fail-on", "similar").code == 1
    assert run("dedupe", "v.npy", "--include", "alone/*", "--fail-on", "similar").code == 0


@pytest.mark.parametrize(("share", "removed"), [(0.25, 5), (0.2, 4), (0.15, 3), (0.0, 2), (1.0, 20)])
def test_a_share_finds_its_threshold(world: Path, share: float, removed: int):
    result = run("dedupe", "v.npy", "--target-share", str(share), "--paths")
    assert result.code == 0, result.stderr
    assert len(result.lines) == removed
    found = result.stderr.partition("--min-similarity ")[2].split()[0]
    if 0 < removed < 20:
        again = run("dedupe", "v.npy", "--min-similarity", found, "--paths")
        assert again.lines == result.lines


def test_other_formats_lengths_and_several_files(world: Path):
    names, rows = vectors()
    pytest.importorskip("pyarrow")
    write(world / "v.parquet", names, rows)
    write(world / "raw.npy", names, rows * 7, raw=True)
    expected = run("dedupe", "v.npy", "--paths").lines
    assert run("dedupe", "v.parquet", "--paths").lines == run("dedupe", "raw.npy", "--paths").lines == expected
    write(world / "one.npy", names[:9], rows[:9])
    write(world / "two.npy", names[9:], rows[9:])
    assert run("dedupe", "one.npy", "two.npy", "--paths").lines == expected


def test_what_cannot_be_used_is_said_in_one_line(world: Path):
    names, rows = vectors()
    write(world / "other.npy", names, rows, fingerprint="f2")
    (world / "photos").mkdir()
    assert_one_error(run("dedupe", "v.npy", "other.npy"), "different models", code=4)
    assert_one_error(run("dedupe", "v.npy", "photos"), "holds vectors, other inputs are images", code=2)
    for option in (("--rotations",), ("--keep", "oldest"), ("--against", "photos"), ("--level", "near")):
        assert_one_error(run("dedupe", "v.npy", *option), option[0], "holds vectors", code=2)
    assert_one_error(run("dedupe", "v.npy", "--report", "x.html"), "--report", code=2)
    assert_one_error(run("dedupe", "photos", "--target-share", "0.1"), "files of vectors", code=2)
    assert_one_error(
        run("dedupe", "v.npy", "--target-share", "0.1", "--min-similarity", "0.9"), "--target-share", code=2
    )
    rows[3] = np.nan
    write(world / "bad.npy", names, rows)
    assert_one_error(run("dedupe", "bad.npy"), "row 3", "not finite", code=4)
    plan = run("dedupe", "v.npy", "-o", "plan.jsonl")
    assert plan.code == 0
    assert "row of a plan" in run("apply", "plan.jsonl").stderr
    assert json.loads((world / "plan.jsonl").read_text().splitlines()[0])["level"] == "similar"
