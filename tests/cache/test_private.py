"""The cache belongs to one user, and to the model that computed it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from run import command, run

from clipcli import bundle
from clipcli.cache import EmbeddingCache
from clipcli.core.console import Console
from clipcli.core.files import is_private, make_private_folder, open_private
from clipcli.engines.checkpoint import resolve
from clipcli.hub.client import Hub
from clipcli.models import records
from clipcli.models.spec import TINY_FOLDER, parse_model

OTHER_UID = 12_345
owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")


@pytest.fixture
def impostor(tmp_path: Path) -> Path:
    """A bundle with tiny's files that states tiny's fingerprint and name, and feeds them with other pixels."""
    folder = Path(shutil.copytree(TINY_FOLDER, tmp_path / "impostor"))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["info"]["preprocessing"]["mean"] = [0.0, 0.1, 0.9]
    path.write_text(json.dumps(manifest))
    return folder


@pytest.mark.thorough
def test_a_bundle_that_states_anothers_fingerprint_does_not_answer_for_it(impostor: Path, folder: Path):
    assert bundle.read(impostor).info.fingerprint == bundle.read(TINY_FOLDER).info.fingerprint
    honest = run("embed", folder, "-m", "tiny", "--no-cache").stdout
    other = run("embed", folder, "-m", impostor)
    assert other.code == 0, other.stderr
    assert other.stdout != honest
    assert run("embed", folder, "-m", "tiny").stdout == honest
    assert run("embed", folder, "-m", impostor).stdout == other.stdout
    assert run("embed", folder, "-m", "tiny").stdout == honest, "the second run of both, from the cache"


def test_the_same_files_are_the_same_model_wherever_they_lie(tmp_path: Path):
    copy = Path(shutil.copytree(TINY_FOLDER, tmp_path / "copy"))
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["info"].update(name="another name", fingerprint="000000000000")
    path.write_text(json.dumps(manifest))
    tiny, renamed = bundle.read(TINY_FOLDER), bundle.read(copy)
    assert records.vectors_key(tiny) == records.vectors_key(renamed) == f"bundle-{tiny.digest}"


@pytest.mark.parametrize("key", ["dim", "context_length", "causal_text"])
def test_what_vectors_depend_on_is_in_the_digest(key: str):
    from dataclasses import replace

    tiny = bundle.read(TINY_FOLDER)
    value = not getattr(tiny.info, key) if key == "causal_text" else getattr(tiny.info, key) + 1
    other = replace(tiny, manifest=replace(tiny.manifest, info=replace(tiny.info, **{key: value})))
    assert other.digest != tiny.digest
    files = tuple(replace(entry, sha256="0" * 64) if "image" in entry.name else entry for entry in tiny.manifest.files)
    assert replace(tiny, manifest=replace(tiny.manifest, files=files)).digest != tiny.digest


def test_a_bundle_that_was_made_here_shares_its_sources_vectors():
    tiny = bundle.read(TINY_FOLDER)
    records.remember_origin(tiny)
    assert records.vectors_key(tiny) == tiny.info.fingerprint


def test_a_file_name_of_the_hubs_kind_is_not_taken_for_a_hash(random_model: str, tmp_path: Path):
    """A folder with the links of a hub's cache may name its weights after those of another model."""
    real = Path(random_model.removeprefix("local-dir:"))
    false = Path(shutil.copytree(real, tmp_path / "model"))
    weights = false / "open_clip_model.safetensors"
    name = records.digest_of(real / weights.name)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    (false / name).write_bytes(data)
    weights.unlink()
    weights.symlink_to(name)
    sources = [resolve(parse_model(f"local-dir:{path}"), Hub(Console(), offline=True)) for path in (real, false)]
    assert records.digest_of(weights) != name
    one, other = (source.info(causal=True, digest=records.digest_of).fingerprint for source in sources)
    assert one != other


def test_a_hash_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, hashed = tmp_path / "weights", []
    monkeypatch.setattr(records, "sha256_of", lambda path: hashed.append(path) or "ab" * 32)
    path.write_bytes(b"weights")
    records.digest_of(path)
    records.digest_of(path)
    assert len(hashed) == 2, "it was written just now"
    monkeypatch.setattr(records, "_RACY_SECONDS", -1)
    for _ in range(3):
        assert records.digest_of(path) == "ab" * 32
    assert len(hashed) == 3
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"w3ights")
    os.utime(path, ns=times)
    records.digest_of(path)
    assert len(hashed) == 4


@pytest.mark.thorough
@owners
def test_everything_kept_is_private_whatever_the_umask(tmp_path: Path, folder: Path):
    cache = tmp_path / "not" / "there yet"
    shell = 'umask 0; exec "$@"'
    call = ["sh", "-c", shell, "sh", *command("embed", folder, "-m", "tiny", "-o", tmp_path / "v.npy")]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "CLIPCLI_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    subprocess.run(call, check=True, env=environment, cwd=tmp_path)
    kept = [tmp_path / "not", cache, *cache.rglob("*")]
    assert any(path.name.startswith("vectors-") for path in kept)
    modes = {str(path): oct(path.stat().st_mode & 0o777) for path in kept}
    assert set(modes.values()) <= {"0o700", "0o600"}, modes
    assert (tmp_path / "v.npy").stat().st_mode & 0o777 == 0o666, "what was asked for has the user's own rights"


@owners
def test_an_older_cache_is_closed_to_others(tmp_path: Path):
    with EmbeddingCache.open(tmp_path, say=print):
        pass
    (file,) = tmp_path.glob("vectors-*.sqlite")
    file.chmod(0o644)
    with EmbeddingCache.open(tmp_path, say=print):
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.thorough
@owners
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(cache))
    result = run("embed", folder, "-m", "tiny")
    assert result.code == 0
    assert result.stderr.count("cache not used") == 1
    assert "other users can write to this folder" in result.stderr
    assert list(cache.iterdir()) == []


@owners
def test_what_another_user_put_there_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    with EmbeddingCache.open(tmp_path, say=said.append):
        pass
    records.remember_origin(bundle.read(TINY_FOLDER))
    monkeypatch.setattr(os, "geteuid", lambda: OTHER_UID)
    if tmp_path.stat().st_uid != 0:  # what root put there is trusted
        assert not is_private(tmp_path)
        assert records.vectors_key(bundle.read(TINY_FOLDER)).startswith("bundle-")
    else:
        os.chown(tmp_path, OTHER_UID + 1, -1)
        assert not is_private(tmp_path)
    with EmbeddingCache.open(tmp_path, say=said.append) as cache:
        assert not cache.is_writable
    assert len(said) == 1


@owners
def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path):
    folder = make_private_folder(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        open_private(folder / "link")
    assert not (tmp_path / "target").exists()
