"""Detection models of every kind with random weights, saved by transformers itself, a few hundred kilobytes each."""

from __future__ import annotations

import shutil
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {**_TEXT, "image_size": 64, "patch_size": 16}
_SWIN = {
    "model_type": "swin", "image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [2, 2, 2, 2],
    "window_size": 4, "out_indices": [2, 3, 4],
}  # fmt: skip
_DECODER: dict[str, Any] = {
    "num_queries": 20, "encoder_layers": 1, "decoder_layers": 2, "d_model": 32, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
COMMIT = "2" * 40
KINDS = ("owlv2", "owlvit", "grounding-dino")
REPOSITORIES = {
    "owlv2": "google/owlv2-base-patch16-ensemble",
    "owlvit": "google/owlvit-base-patch32",
    "grounding-dino": "IDEA-Research/grounding-dino-tiny",
}
"""What the aliases stand for."""


def save(kind: str, folder: Path) -> Path:
    """Write a model of one kind as a repository has it: config, weights, preparation of pixels, tokenizer."""
    import torch
    import transformers

    words = _save_tokenizer(kind, folder)
    torch.manual_seed(0)
    if kind == "grounding-dino":
        config: Any = transformers.GroundingDinoConfig(
            backbone_config=_SWIN, text_config={**_TEXT, "model_type": "bert", "vocab_size": words}, **_DECODER
        )
        model: Any = transformers.GroundingDinoForObjectDetection(config)
        pixels: Any = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    else:
        name = {"owlv2": "Owlv2", "owlvit": "OwlViT"}[kind]
        config = getattr(transformers, f"{name}Config")(
            text_config={**_TEXT, "vocab_size": words, "max_position_embeddings": 16},
            vision_config=_VISION,
            projection_dim=32,
        )
        model = getattr(transformers, f"{name}ForObjectDetection")(config)
        pixels = getattr(transformers, f"{name}ImageProcessor")(size={"height": 64, "width": 64})
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    pixels.save_pretrained(folder)
    return folder


def _save_tokenizer(kind: str, folder: Path) -> int:
    """Write a tokenizer that knows letters, with the special tokens where the model's code expects them; its size."""
    import transformers

    tokenizer: Any
    if kind == "grounding-dino":  # whose code knows BERT's ids of [CLS], [SEP], the full stop and the question mark
        words = [f"[unused{number}]" for number in range(1100)]
        words[0], words[100:104], words[1012], words[1029] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"], ".", "?"
        words[1030:1056] = ascii_lowercase
        words[1060:1086] = [f"##{letter}" for letter in ascii_lowercase]
        vocabulary = {word: number for number, word in enumerate(words)}
        tokenizer = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=512)
    else:
        words = ["!", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase), "<|startoftext|>"]
        vocabulary = {word: number for number, word in enumerate([*words, "<|endoftext|>"])}
        tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=16)  # noqa: S106
    tokenizer.save_pretrained(folder)
    return len(vocabulary)


def put_into_hub_cache(folder: Path, repository: str, cache: Path) -> None:
    """Lay a model's files out as huggingface_hub does after a download."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT, encoding="ascii")
    shutil.copytree(folder, home / "snapshots" / COMMIT)
