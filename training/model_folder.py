"""Write what was trained as an ordinary OpenCLIP model folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from training.text_tower import config, log_scale, trained
from training.tune import tuned_tower
from training.views import IMAGE_SIZE, MEAN, STD

if TYPE_CHECKING:
    from pathlib import Path


def write(work: Path, out: Path, scale: float) -> None:
    """Write OUT: the starting tower with the tuned last stages, the projection, the text tower, the logit scale."""
    tuned = torch.load(work / "tuned.pt", weights_only=True)
    texts = trained(torch.load(work / "texts.pt", weights_only=True))
    state = texts.openclip_state() | {"logit_scale": log_scale(scale)}
    trunk = tuned_tower(work).state_dict()
    state |= {f"visual.trunk.{name}": value for name, value in trunk.items() if not name.startswith("classifier")}
    state |= {f"visual.head.proj.{name}": value for name, value in tuned["projection"].items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(state, out / "open_clip_model.safetensors", metadata={"format": "pt"})
    described = json.dumps(config(IMAGE_SIZE, MEAN, STD), indent=1) + "\n"
    (out / "open_clip_config.json").write_text(described, encoding="utf-8")
