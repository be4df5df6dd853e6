from __future__ import annotations

from typing import TYPE_CHECKING

import hand_made
import pytest

from clipcli.bundle import stage as staging

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "model"
    with staging.staged(target) as stage:
        hand_made.fill(stage)
        staging.seal(stage, hand_made.MANIFEST)
    return target
