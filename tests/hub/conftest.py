"""A hub of one's own for each test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import hub_server
import numpy as np
import pytest
import small_models

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "org/small"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that huggingface_hub keeps files in, here and in processes that a test starts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    """A hub with one repository, small but with weights large enough to be known by their sha256."""
    noise = np.random.default_rng(3).bytes(600_000)
    files = {"open_clip_config.json": b'{"model_cfg": {}}', "open_clip_model.safetensors": noise}
    with hub_server.serve(hub_server.Hub({REPO: files})) as server:
        hub_server.use(server.endpoint, monkeypatch)
        yield server


@pytest.fixture
def model_hub(hub: hub_server.Hub, random_model: str) -> hub_server.Hub:
    """The same with a model that can be loaded."""
    folder = Path(random_model.removeprefix("local-dir:"))
    hub.files[REPO] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return hub


@pytest.fixture
def small_tag(model_hub: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture with a tag, as open_clip registers them, whose weights are in that repository."""
    config = json.loads(model_hub.files[REPO]["open_clip_config.json"])["model_cfg"]
    path = tmp_path / "Small-ViT.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    small_models.register("Small-ViT", path, {"noise": {"hf_hub": f"{REPO}/"}}, monkeypatch)
    return "Small-ViT/noise"
