"""The recipe is no part of the installed package: it is imported from the root of the repository."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

pytest.importorskip("torch")
