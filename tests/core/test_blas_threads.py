from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from clipcli.core.blas_threads import single_threaded_blas


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_products_take_one_thread_inside_and_as_many_as_before_afterwards() -> None:
    before = threads()
    if not before:
        pytest.skip("numpy brings no BLAS that can be limited (Accelerate)")
    with single_threaded_blas():
        assert threads() == {1}
        assert np.allclose(np.eye(64) @ np.eye(64), np.eye(64))
    assert threads() == before
