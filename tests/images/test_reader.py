"""Paths to bytes: what is no file is an error with its own words, and nothing ever waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clipcli.errors import ImageError
from clipcli.images import read, reader


def reason(path):
    with pytest.raises(ImageError) as caught:
        read(str(path))
    assert caught.value.stage == "read"
    return caught.value.reason


def test_a_file_and_a_link_to_it(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(file)
    assert read(str(file)) == read(str(tmp_path / "link")) == b"bytes"


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are Unicode here")
def test_a_name_that_is_not_text(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    Path(os.fsdecode(name)).write_bytes(b"bytes")
    assert read(os.fsdecode(name)) == b"bytes"


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert reason(tmp_path) == "a folder, not a file"
    assert reason(tmp_path / "gone.png") == "no such file"
    assert reason(tmp_path / "empty.png") == "empty file"
    assert reason(tmp_path / "dangling.png") == "a link whose target is missing"
    assert "symbolic links" in reason(tmp_path / "loop.png")
    assert reason(tmp_path / "empty.png" / "below") == "not a directory"
    assert "null byte" in reason("a\0b")
    assert reason(tmp_path / ("x" * 300)) == "file name too long"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission(tmp_path):
    locked = tmp_path / "locked.png"
    locked.write_bytes(b"bytes")
    locked.chmod(0)
    assert reason(locked) == "permission denied"


def test_permission_is_named_for_root_too(tmp_path, monkeypatch):
    def deny(_path, _flags):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"bytes")
    monkeypatch.setattr(reader, "_open_without_waiting", deny)
    assert reason(tmp_path / "a.png") == "permission denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_sockets_are_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "a named pipe, not a file"
    assert reason("/dev/zero") == "a device, not a file"
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        assert reason("socket.png") == "a socket, not a file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_swapped_for_a_pipe_while_we_look_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"bytes")
    os.mkfifo(tmp_path / "pipe")
    original = reader._open_without_waiting
    monkeypatch.setattr(reader, "_open_without_waiting", lambda _path, flags: original(str(tmp_path / "pipe"), flags))
    assert reason(tmp_path / "a.png") == "a named pipe, not a file"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_that_the_shell_opened_is_read_to_its_end():
    with subprocess.Popen([sys.executable, "-c", "print('x' * 200_000, end='')"], stdout=subprocess.PIPE) as writer:
        assert read(f"/dev/fd/{writer.stdout.fileno()}") == b"x" * 200_000


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "disk.png").open("wb") as sparse:
        sparse.truncate(5_000_000_000)
    assert reason(tmp_path / "disk.png") == "5.0 GB, too large for an image"
