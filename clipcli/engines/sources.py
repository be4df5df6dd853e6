"""A model's name becomes files on disk and a config: everything that open_clip needs, and the fingerprint over it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from open_clip import get_model_config, list_pretrained_tags_by_model
from open_clip.pretrained import get_pretrained_cfg

from clipcli.encoder import Interpolation, ModelInfo, Preprocessing, ResizeMode
from clipcli.engines.hugging_face import tokenizer_files
from clipcli.engines.model_config import check_model_config, parse_json
from clipcli.errors import ModelError
from clipcli.files import is_file
from clipcli.hub import CONFIG, WEIGHTS
from clipcli.registry import definition, repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipcli.hub import Hub
    from clipcli.modelspec import ModelSpec

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CHECKPOINT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_PREPROCESSING_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_KNOWN = {"interpolation": get_args(Interpolation), "resize_mode": get_args(ResizeMode)}
_PARTS = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}


@dataclass(frozen=True)
class Source:
    """What a spec resolves to on this disk."""

    name: str
    config: Mapping[str, Any]
    """open_clip's `model_cfg`."""
    preprocessing: Preprocessing
    weights: Path
    quick_gelu: bool
    tokenizer_folder: str | None
    """Files of a Hugging Face tokenizer; None where CLIP's own is used."""
    revision: str | None
    text_tower_config: Path | None = None
    """Hugging Face's `config.json` of a text tower that is one of its models."""
    described_by: tuple[Path, ...] = ()
    """Files that, besides the weights, make it this model: when one of them changes, so may the model."""

    @property
    def context_length(self) -> int:
        """Tokens that the text tower takes."""
        return int(self.config.get("text_cfg", {}).get("context_length", 77))

    def info(self, *, causal: bool, digest: Callable[[Path], str]) -> ModelInfo:
        """The model's description; `digest` gives the sha256 (hex) of its files.

        The fingerprint is over everything that a vector depends on, the tokenizer included: vectors are kept under it.
        """
        facts: list[Any] = [self.config, asdict(self.preprocessing), self.quick_gelu, digest(self.weights)]
        if self.tokenizer_folder is not None:
            facts.append([[path.name, digest(path)] for path in tokenizer_files(Path(self.tokenizer_folder))])
        if self.text_tower_config is not None:
            facts.append(digest(self.text_tower_config))
        text = json.dumps(facts, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]
        return ModelInfo(
            self.name, fingerprint, int(self.config["embed_dim"]), self.preprocessing, self.context_length, causal
        )


def resolve(spec: ModelSpec, hub: Hub) -> Source:
    """Find, or fetch, the config, the weights and the tokenizer of a model.

    Raises:
        DownloadError: not on this disk and not to be had.
        ModelError: a folder or repository that is not an OpenCLIP model, or a config that names code or files.
    """
    match spec.kind:
        case "tag":
            return _with_text_files(_from_tag(spec, hub), hub)
        case "checkpoint":
            return _with_text_files(_from_checkpoint(spec), hub)
        case "hub":
            return _with_text_files(_from_hub(spec, hub), hub)
        case _:
            return _with_text_files(_from_folder(spec, Path(spec.where), revision=None), hub)


def _with_text_files(source: Source, hub: Hub) -> Source:
    """Add what Hugging Face's part of a text tower needs, once the config is known to name nothing that it may not."""
    check_model_config(source.config, source.name)
    text = source.config.get("text_cfg", {})
    folder, tower = source.tokenizer_folder, None
    if folder is None and (repo := text.get("hf_tokenizer_name")):
        folder = hub.fetch_tokenizer(str(repo))
    if repo := text.get("hf_model_name"):
        tower = hub.fetch(str(repo), "config.json")
        if tower is None:
            raise ModelError(f"{repo} has no config.json", hint="the model's config names it as hf_model_name")
    files = tokenizer_files(Path(folder)) if folder else ()
    described = (*source.described_by, *files, *((tower,) if tower else ()))
    return replace(source, tokenizer_folder=folder, text_tower_config=tower, described_by=described)


def _from_tag(spec: ModelSpec, hub: Hub) -> Source:
    config, tag = get_model_config(spec.where), get_pretrained_cfg(spec.where, spec.version)
    repo, filename = repository(spec.where, spec.version)
    weights = hub.fetch_weights(repo, filename=filename)
    return Source(
        spec.name, config, _preprocessing(config, tag), weights,
        quick_gelu=bool(tag.get("quick_gelu")), tokenizer_folder=None, revision=weights.parent.name,
        described_by=(*definition(spec.where), *_reference(weights, None)),
    )  # fmt: skip


def _from_checkpoint(spec: ModelSpec) -> Source:
    """A checkpoint brings no preprocessing: the architecture's tags tell it where they agree (all SigLIP ones do)."""
    config = get_model_config(spec.where)
    tags = [get_pretrained_cfg(spec.where, tag) for tag in list_pretrained_tags_by_model(spec.where)]
    found = {_preprocessing(config, tag) for tag in tags}
    preprocessing = found.pop() if len(found) == 1 else _preprocessing(config, {})
    return Source(
        spec.name, config, preprocessing, Path(spec.version), quick_gelu=False,
        tokenizer_folder=None, revision=None,
        described_by=definition(spec.where),
    )  # fmt: skip


def _from_hub(spec: ModelSpec, hub: Hub) -> Source:
    revision = spec.version or None
    config = hub.fetch_model(spec.where, revision)
    source = _from_folder(spec, config.parent, revision=config.parent.name)
    return replace(source, described_by=(*source.described_by, *_reference(config, revision)))


def _reference(path: Path, revision: str | None) -> tuple[Path, ...]:
    """The file of the hub's cache that says which commit a branch or tag was when it was last looked up."""
    found = path.parent.parent.parent / "refs" / (revision or "main")
    return (found,) if is_file(found) else ()


def _from_folder(spec: ModelSpec, folder: Path, *, revision: str | None) -> Source:
    try:
        described = parse_json(folder / CONFIG)
        config = described["model_cfg"]
        preprocessing = _preprocessing(config, described.get("preprocess_cfg", {}))
        has_parts = all(isinstance(config[key], kind) for key, kind in _PARTS.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {error!r}") from error
    if not has_parts:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {', '.join(_PARTS)} are of the wrong kind")
    has_own = "hf_tokenizer_name" in config["text_cfg"] and is_file(folder / "tokenizer_config.json")
    return Source(
        spec.name, config, preprocessing, _weights_in(folder), quick_gelu=False,
        tokenizer_folder=str(folder) if has_own else None, revision=revision,
        described_by=(folder / CONFIG,),
    )  # fmt: skip


def _weights_in(folder: Path) -> Path:
    """The weights in a folder: those of a known name, safetensors before pickles, or else the only ones."""
    for name in (*WEIGHTS, "open_clip_pytorch_model.safetensors"):
        if is_file(folder / name):
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in _CHECKPOINT_SUFFIXES)
    if len(found) != 1:
        what = "has no weights" if not found else "has several: " + ", ".join(path.name for path in found)
        raise ModelError(f"{folder} {what}", hint=f"name the one to use {WEIGHTS[0]}")
    return found[0]


def _preprocessing(config: Mapping[str, Any], overlay: Mapping[str, Any]) -> Preprocessing:
    given = {key: overlay[key] for key in _PREPROCESSING_KEYS if overlay.get(key) is not None}
    size = config.get("vision_cfg", {}).get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    (red, green, blue), (r, g, b) = given.pop("mean", _CLIP_MEAN), given.pop("std", _CLIP_STD)
    for key, known in _KNOWN.items():
        if given.get(key, known[0]) not in known:
            raise ValueError(f"{key} {given[key]!r} is none of {', '.join(known)}")
    return Preprocessing((int(height), int(width)), (red, green, blue), (r, g, b), **given)
