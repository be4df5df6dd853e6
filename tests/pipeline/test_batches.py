"""Batches that do not fit into memory."""

from __future__ import annotations

import sys

import pytest
from run import run_script

from clipcli import modelspec

REAL = """
import resource
import numpy as np
from clipcli import bundle, modelspec
from clipcli.engines import onnx
from clipcli.pipeline import Batches

encoder = onnx.load(bundle.read(modelspec.TINY_FOLDER), expected_images=10_000)
pixels = np.random.default_rng(0).standard_normal((2000, 3, *encoder.info.preprocessing.image_size), dtype=np.float32)
whole = np.concatenate([encoder.encode_images(pixels[start : start + 16]) for start in range(0, 2000, 16)])
ours = np.empty_like(whole)
said = []
with open("/proc/self/statm") as status:
    now = int(status.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**26, resource.RLIM_INFINITY))
Batches(2000, "image", said.append).fill(ours, lambda some: encoder.encode_images(pixels[some]), "cpu")
print(len(said) > 0, np.array_equal(ours, whole))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.skipif(not (modelspec.TINY_FOLDER / modelspec.MANIFEST).is_file(), reason="tiny was not built")
def test_onnx_runtime_with_too_little_memory_gives_the_same_vectors_in_smaller_batches():
    done = run_script(REAL, OMP_NUM_THREADS="1")
    assert (done.stdout, done.code) == ("True True\n", 0), done.stderr
