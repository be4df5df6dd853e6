"""Shards larger than the memory they take."""

from __future__ import annotations

import io
import tarfile

import pytest
from run import run_script

MEGA = 1 << 20
SCRIPT = """
import resource, sys
from clipcli import images
from clipcli.inputs import collect

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

small, large = sys.argv[1:]
for ref in collect([small]):
    images.read_ref(ref)
before = peak()
count = sum(len(images.read_ref(ref)) == 1 << 20 for ref in collect([large]))
print(count, peak() - before)
"""


def archive(count: int) -> bytes:
    """Members of a megabyte each."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = MEGA
            tar.addfile(info, io.BytesIO(bytes(MEGA)))
    return data.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["near", "far"])
def test_a_shard_takes_no_more_memory_than_some_blocks(web, tmp_path, place):
    web.files |= {"/small.tar": archive(2), "/large.tar": archive(300)}
    for name in web.files:
        (tmp_path / name[1:]).write_bytes(web.files[name])
    base = tmp_path if place == "near" else web.url
    done = run_script(SCRIPT, f"{base}/small.tar", f"{base}/large.tar")
    count, megabytes = map(int, done.stdout.split())
    assert count == 300
    assert megabytes < 100
