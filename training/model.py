"""The student: an ordinary OpenCLIP model, its config, and how it is written."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import nn

EMBED_DIM = 256
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def config(image_size: int, tower: str = "mobilenetv4_conv_small_050") -> dict[str, Any]:
    """The contents of open_clip_config.json."""
    return {
        "model_cfg": {
            "embed_dim": EMBED_DIM,
            "vision_cfg": {
                "timm_model_name": tower,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "",
                "image_size": image_size,
            },
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
        },
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }


def build(image_size: int) -> nn.Module:
    """A fresh model with random weights."""
    cfg = copy.deepcopy(config(image_size)["model_cfg"])
    return open_clip.CLIP(cfg["embed_dim"], cfg["vision_cfg"], cfg["text_cfg"], output_dict=False)


class Student(nn.Module):
    """The image tower with what only training needs: a vector a concept, and the bridge to the teacher."""

    def __init__(self, visual: nn.Module, concepts: int, teacher_dim: int, teacher_names: int) -> None:
        super().__init__()
        self.visual = visual
        self.concepts = nn.Parameter(torch.randn(concepts, EMBED_DIM) * 0.05)
        self.bridge = nn.Linear(EMBED_DIM, teacher_dim, bias=False)
        self.names = nn.Parameter(torch.randn(teacher_names, EMBED_DIM) * 0.05)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit vectors of normalised pixels."""
        return nn.functional.normalize(self.visual(pixels).float(), dim=-1)

    def scores(self, vectors: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """Scaled cosines to a table of prototypes."""
        scale = self.log_scale.clamp(max=3.9).exp()
        return (scale * vectors @ nn.functional.normalize(prototypes, dim=-1).T).float()


def write(state: dict[str, torch.Tensor], image_size: int, folder: Path) -> None:
    """Write an OpenCLIP model folder; `folder` is a link that moves to the new files in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    fresh.chmod(0o755)
    weights = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    save_file(weights, fresh / "open_clip_model.safetensors", metadata={"format": "pt"})
    (fresh / "open_clip_model.safetensors").chmod(0o644)
    (fresh / "open_clip_config.json").write_text(json.dumps(config(image_size), indent=1) + "\n", encoding="utf-8")
    link = fresh.with_name(fresh.name + ".link")
    link.symlink_to(fresh.name)
    link.replace(folder)
