from __future__ import annotations

from typing import TYPE_CHECKING

import hand_made
import pytest

from clipcli import bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    with bundle.staged(target) as stage:
        hand_made.fill(stage)
        bundle.seal(stage, hand_made.MANIFEST)
    return target
