from __future__ import annotations

from pathlib import Path

import pytest
from plan.trees import Tree, make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Two copies of each of two pictures."""
    root = tmp_path / "tree"
    root.mkdir()
    return make_tree(root, [[0, 1], [3, 4]], same=True)
