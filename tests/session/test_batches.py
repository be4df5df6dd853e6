"""Batches that do not fit into memory."""

from __future__ import annotations

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from run import run_script

from clipcli.models import spec
from clipcli.session.batches import BatchSize

REAL = """
import resource
import numpy as np
from clipcli import bundle
from clipcli.models import spec
from clipcli.engines import onnx
from clipcli.session.batches import BatchSize

encoder = onnx.load(bundle.read(spec.TINY_FOLDER), expected_images=10_000)
pixels = np.random.default_rng(0).standard_normal((200, 3, *encoder.info.preprocessing.image_size), dtype=np.float32)
whole = np.concatenate([encoder.encode_images(pixels[start : start + 16]) for start in range(0, 200, 16)])
ours = np.empty_like(whole)
said = []
with open("/proc/self/statm") as status:
    now = int(status.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**27, resource.RLIM_INFINITY))
BatchSize(200, "image", said.append).fill(ours, lambda some: encoder.encode_images(pixels[some]), "cpu")
print(len(said) > 0, np.array_equal(ours, whole))
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.skipif(not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="tiny was not built")
def test_onnx_runtime_with_too_little_memory_gives_the_same_vectors_in_smaller_batches():
    done = run_script(REAL, OMP_NUM_THREADS="1")
    assert (done.stdout, done.code) == ("True True\n", 0), done.stderr


class Memory:
    """Room for a few rows, whoever they belong to."""

    def __init__(self, rows: int, together: int) -> None:
        self.rows, self.used, self.tries = rows, 0, []
        self.lock, self.meeting = threading.Lock(), threading.Barrier(together)

    def encode(self, some: slice) -> np.ndarray:
        count = some.stop - some.start
        with self.lock:
            self.tries.append(count)
            self.used += count
            too_much = self.used > self.rows
        with contextlib.suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.5)
        with self.lock:
            self.used -= count
        if too_much:
            raise MemoryError
        return np.ones((count, 2), np.float32)


@pytest.mark.parametrize(
    ("rows", "size", "said"), [(8, 8, []), (3, 2, ["out of memory: continuing with batches of 2 images"])]
)
def test_batches_side_by_side_are_halved_only_if_they_do_not_fit_one_by_one(rows, size, said):
    memory, heard = Memory(rows, together=2), []
    batches, vectors = BatchSize(8, "image", heard.append), np.zeros((2, 8, 2), np.float32)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda some: batches.fill(some, memory.encode, "cuda"), vectors))
    assert vectors.all()
    assert batches.size == size
    assert heard[-1:] == said
