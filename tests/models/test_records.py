"""Records of a model: whole, current, and of that model only."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from clipcli.core.encoder import ModelInfo, Preprocessing, Scoring
from clipcli.models import records

NAME = "hf-hub:org/name"
PREPROCESSING = Preprocessing((224, 256), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear", "squash", 7)
INFO = ModelInfo(NAME, "0123456789ab", 512, PREPROCESSING, 77, causal_text=True)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    weights, config = tmp_path / "weights", tmp_path / "config"
    weights.write_bytes(b"weights")
    config.write_bytes(b"config")
    return weights, config


@pytest.fixture
def record(files: tuple[Path, Path]) -> records.Record:
    weights, config = map(records.FileStamp.of, files)
    return records.Record(INFO, Scoring(99.5, -10.0, "sigmoid"), weights, (config,), "abc", "cpu", "bf16")


def kept(own_world: Path) -> Path:
    (path,) = (own_world / "models").iterdir()
    return path


def test_a_record_comes_back_as_it_was(record: records.Record):
    assert records.find(NAME, "cpu") is None
    records.keep(record, "cpu")
    assert records.find(NAME, "cpu") == record
    assert records.find(NAME, "cuda") is None
    assert records.find("hf-hub:org/other", "cpu") is None


@pytest.mark.parametrize("index", [0, 1], ids=["weights", "config"])
@pytest.mark.parametrize("change", ["longer", "touched", "gone"])
def test_a_changed_file_ends_a_record(record: records.Record, files: tuple[Path, Path], index: int, change: str):
    records.keep(record, "cpu")
    path = files[index]
    if change == "longer":
        path.write_bytes(b"another content")
    elif change == "touched":
        import os

        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    else:
        path.unlink()
    assert records.find(NAME, "cpu") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"info": 3}', "\x00\xff"])
def test_a_broken_record_is_none(record: records.Record, own_world: Path, text: str):
    records.keep(record, "cpu")
    kept(own_world).write_bytes(text.encode("latin-1"))
    assert records.find(NAME, "cpu") is None
    records.keep(record, "cpu")
    assert records.find(NAME, "cpu") == record


@pytest.mark.parametrize("key", ["info", "scoring", "weights", "others", "revision", "device", "precision"])
def test_a_record_of_an_older_format_is_none(record: records.Record, own_world: Path, key: str):
    records.keep(record, "cpu")
    data = json.loads(kept(own_world).read_text())
    del data[key]
    kept(own_world).write_text(json.dumps(data))
    assert records.find(NAME, "cpu") is None


def test_a_record_of_another_model_under_the_same_file_name_is_none(record: records.Record, own_world: Path):
    records.keep(record, "cpu")
    data = json.loads(kept(own_world).read_text())
    data["info"]["name"] = "hf-hub:org/other"
    kept(own_world).write_text(json.dumps(data))
    assert records.find(NAME, "cpu") is None


def test_a_cache_that_cannot_be_written_is_no_failure(
    record: records.Record, own_world: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records.json, "dump", full)
        records.keep(record, "cpu")
    assert list((own_world / "models").iterdir()) == []
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(Path(__file__) / "below-a-file"))
    records.keep(record, "cpu")
    assert records.find(NAME, "cpu") is None


def test_names_that_differ_have_files_that_differ():
    names = [
        "ViT-B-32/openai", "ViT-B-32--openai", "hf-hub:org/name", "hf-hub:org/name@v1", "hf-hub:org/name@a b",
        "local-dir:/x/a b", "local-dir:/x/a/b", "local-dir:/x/a--b", "local-dir:x/a/b", "local-dir:/x/a\udcff",
        "local-dir:/x/ü", f"local-dir:/{'y' * 300}/1", f"local-dir:/{'y' * 300}/2", "..", "local-dir:/x/a\nb",
    ]  # fmt: skip
    slugs = [records.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all("/" not in slug and slug.strip(".") and len(slug) < 200 for slug in slugs)
    assert slugs[0] == "ViT-B-32--openai", "names without doubt stay readable"


def test_non_utf8_names_are_kept(record: records.Record):
    odd = dataclasses.replace(record, info=dataclasses.replace(INFO, name="local-dir:/x/\udcff"))
    records.keep(odd, "cpu")
    assert records.find("local-dir:/x/\udcff", "cpu") == odd
