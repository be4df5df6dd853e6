from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hand_made import MANIFEST, tower

from clipcli import bundle
from clipcli.bundle import stage
from clipcli.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _reseal(folder: Path) -> None:
    """What an attacker or a careless packager does: the hashes are made to fit."""
    stage.seal(folder, MANIFEST)


def test_what_is_written_is_read(folder):
    found = bundle.read(folder)
    assert found.info == MANIFEST.info
    assert found.scoring == MANIFEST.scoring
    assert found.precision == "fp16"
    assert found.manifest.tokenizer == MANIFEST.tokenizer
    assert [entry.name for entry in found.manifest.files] == [
        "image.onnx", "image.onnx.data", "text.onnx", "text.onnx.data", "tokenizer.json",
    ]  # fmt: skip
    assert found.size == sum(path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_whole_numbers_pass_for_scale_and_mean(folder):
    data = json.loads((folder / "manifest.json").read_text())
    data["scoring"]["scale"] = 100
    data["info"]["preprocessing"]["mean"] = [0, 0, 0]
    _edit(folder, **data)
    assert bundle.read(folder).info.preprocessing.mean == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["image.onnx", "image.onnx.data", "text.onnx.data", "tokenizer.json"])
def test_a_flipped_byte_is_refused_by_name(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"model/{name}: damaged"):
        bundle.read(folder)


def test_a_truncated_external_file_is_refused_by_name(folder):
    path = folder / "text.onnx.data"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"text\.onnx\.data: 63 bytes, but the manifest says 64"):
        bundle.read(folder)


@pytest.mark.parametrize("name", ["image.onnx", "image.onnx.data", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: missing"):
        bundle.read(folder)


def test_a_folder_in_place_of_a_file_is_named(folder):
    (folder / "image.onnx").unlink()
    (folder / "image.onnx").mkdir()
    with pytest.raises(BundleError, match=r"image\.onnx: not a regular file"):
        bundle.read(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/x", "..\\x", "C:x", "..", "", "a\0b"])
def test_a_path_outside_the_folder_is_refused_by_name(folder, name):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _edit(folder, files=[*files, {"name": name, "size": 0, "sha256": ""}])
    with pytest.raises(BundleError) as caught:
        bundle.read(folder)
    assert f"outside the bundle: {name!r}" in caught.value.message


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/../../x", "other.data"])
def test_external_data_outside_the_bundle_is_refused(folder, location, depth):
    (folder.parent / "secret").write_bytes(bytes(64))
    tower(folder / "image.onnx", location, depth=depth)
    _reseal(folder)
    with pytest.raises(BundleError) as caught:
        bundle.read(folder)
    assert f"image.onnx: its weights point outside the bundle: {location!r}" in caught.value.message


def test_external_data_past_the_end_of_its_file_is_refused(folder):
    tower(folder / "image.onnx", length=65)
    _reseal(folder)
    with pytest.raises(BundleError, match=r"reach past the end of image\.onnx\.data"):
        bundle.read(folder)


@pytest.mark.parametrize("junk", [b"hello world, this is no graph", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40])
def test_a_graph_that_is_none_is_refused(folder, junk):
    (folder / "image.onnx").write_bytes(junk)
    _reseal(folder)
    with pytest.raises(BundleError, match=r"image\.onnx: not an ONNX graph"):
        bundle.read(folder)


def test_a_newer_format_is_refused_by_number(folder):
    _edit(folder, format=bundle.FORMAT + 1, something_new={"x": 1})
    with pytest.raises(BundleError, match="format 2 is newer than this clipcli reads") as caught:
        bundle.read(folder)
    assert caught.value.hint is not None
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "no format number"),
        ("{}", "no format number"),
        ('{"format": true}', "no format number"),
        ('{"format": 1}', "incomplete: no 'info'"),
        ('{"format": 1, "info": 3}', "incomplete: info should be dict, not int"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(folder, text, says):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=says):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("info.dim", "512"),
        ("info.dim", True),
        ("info.preprocessing.image_size", [224]),
        ("info.preprocessing.mean", [0.1, 0.2]),
        ("info.preprocessing.interpolation", "psychic"),
        ("scoring.activation", "relu"),
        ("scoring.scale", None),
        ("precision", "fp8"),
        ("tokenizer.clean", "lower; rm -rf"),
        ("tokenizer.end_ids", [1.5]),
        ("files", [{"name": "image.onnx"}]),
    ],
)
def test_values_of_the_wrong_kind_are_refused(folder, path, value):
    data = json.loads((folder / "manifest.json").read_text())
    *parents, key = path.split(".")
    inner = data
    for parent in parents:
        inner = inner[parent]
    inner[key] = value
    _edit(folder, **data)
    with pytest.raises(BundleError, match="incomplete"):
        bundle.read(folder)


@pytest.mark.parametrize("needed", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_a_manifest_without_a_needed_file_is_refused(folder, needed):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _edit(folder, files=[entry for entry in files if entry["name"] != needed])
    with pytest.raises(BundleError, match=f"does not list {needed}"):
        bundle.read(folder)


def test_what_is_no_bundle_says_so(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        assert not bundle.is_bundle(place)
        with pytest.raises(BundleError, match="not a bundle"):
            bundle.read(place)


def test_a_stamp_saves_the_second_hashing_until_a_file_changes(folder, tmp_path, monkeypatch):
    from clipcli.bundle import bundle as contents

    hashed: list[str] = []
    real = contents.sha256
    monkeypatch.setattr(contents, "sha256", lambda path: hashed.append(path.name) or real(path))
    stamps = tmp_path / "cache" / "stamps"
    bundle.read(folder, stamps=stamps)
    assert len(hashed) == 5
    bundle.read(folder, stamps=stamps)
    assert len(hashed) == 10, "files that were written just now are not trusted"
    monkeypatch.setattr(contents, "_RACY_SECONDS", -1)
    bundle.read(folder, stamps=stamps)
    hashed.clear()
    bundle.read(folder, stamps=stamps)
    assert hashed == []

    path = folder / "image.onnx.data"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(bytes([1, *path.read_bytes()[1:]]))
    os.utime(path, ns=times)  # a clock set back hides nothing
    with pytest.raises(BundleError, match=r"image\.onnx\.data: damaged"):
        bundle.read(folder, stamps=stamps)


def test_a_copied_bundle_is_checked_anew(folder, tmp_path):
    stamps = tmp_path / "stamps"
    bundle.read(folder, stamps=stamps)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "text.onnx.data").write_bytes(bytes(64))
    with pytest.raises(BundleError, match=r"copy/text\.onnx\.data: damaged"):
        bundle.read(copy, stamps=stamps)


def test_stamps_that_cannot_be_kept_cost_time_only(folder, tmp_path):
    (tmp_path / "stamps").write_text("a file is in the way")
    assert bundle.read(folder, stamps=tmp_path / "stamps").info == MANIFEST.info
