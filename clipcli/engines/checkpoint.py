"""A model's name becomes files on disk and a config: everything that open_clip needs, and the fingerprint over it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from open_clip import get_model_config, list_pretrained_tags_by_model
from open_clip.pretrained import get_pretrained_cfg

from clipcli.core.encoder import ModelInfo
from clipcli.core.files import is_file
from clipcli.engines.model_config import check_model_config, parse_json, tokenizer_files
from clipcli.engines.openclip_registry import configs, definition, preprocessing_of, repository
from clipcli.errors import ModelError
from clipcli.hub import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clipcli.core.encoder import ModelSpec, Preprocessing
    from clipcli.hub import Hub

_CHECKPOINT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_PARTS = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}


@dataclass(frozen=True)
class ModelFiles:
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
        """Return the model's description; `digest` gives the sha256 (hex) of its files.

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


def resolve(spec: ModelSpec, hub: Hub) -> ModelFiles:
    """Find, or fetch, the config, the weights and the tokenizer of a model.

    Raises:
        DownloadError: not on this disk and not to be had.
        ModelError: a folder or repository that is not an OpenCLIP model, or a config that names code or files.
    """
    match spec.kind:
        case "tag":
            return _with_text_files(_from_tag(spec, hub), hub)
        case "checkpoint":
            return _with_text_files(_from_checkpoint(spec, hub), hub)
        case "hub":
            return _with_text_files(_from_hub(spec, hub), hub)
        case _:
            return _with_text_files(_from_folder(spec, Path(spec.where), revision=None), hub)


def _with_text_files(source: ModelFiles, hub: Hub) -> ModelFiles:
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


def _from_tag(spec: ModelSpec, hub: Hub) -> ModelFiles:
    config, tag = get_model_config(spec.where), get_pretrained_cfg(spec.where, spec.version)
    repo, filename = repository(spec.where, spec.version)
    weights = hub.fetch_weights(repo, filename=filename)
    return ModelFiles(
        spec.name, config, preprocessing_of(config, tag), weights,
        quick_gelu=bool(tag.get("quick_gelu")), tokenizer_folder=None, revision=weights.parent.name,
        described_by=(*definition(spec.where), *_reference(weights, None)),
    )  # fmt: skip


def _from_checkpoint(spec: ModelSpec, hub: Hub) -> ModelFiles:
    """A checkpoint brings neither preprocessing nor activation: the architecture's tags tell them where they agree.

    Where they do not, open_clip's own defaults are taken, and it is said.
    """
    config = get_model_config(spec.where)
    tags = [get_pretrained_cfg(spec.where, tag) for tag in list_pretrained_tags_by_model(spec.where)]
    kinds = {preprocessing_of(config, tag) for tag in tags}
    preprocessing = kinds.pop() if len(kinds) == 1 else preprocessing_of(config, {})
    activations = {bool(tag.get("quick_gelu")) for tag in tags}
    quick_gelu = activations == {True}
    for doubt in (_preprocessing_doubt(spec.where, kinds, preprocessing), _activation_doubt(spec.where, activations)):
        if doubt:
            hub.console.warning(doubt)
    return ModelFiles(
        spec.name, config, preprocessing, Path(spec.version), quick_gelu=quick_gelu,
        tokenizer_folder=None, revision=None, described_by=definition(spec.where),
    )  # fmt: skip


def _preprocessing_doubt(architecture: str, kinds: set[Preprocessing], taken: Preprocessing) -> str:
    """Return what to say where an architecture's published weights are not all preprocessed alike.

    Nothing where they are.
    """
    if not kinds:  # one kind, which was taken out, or no published weights at all
        return ""
    ways = [
        f"{name} {' or '.join(sorted({str(getattr(kind, name)) for kind in kinds}))}"
        for name in ("resize_mode", "interpolation", "mean", "std")
        if len({getattr(kind, name) for kind in kinds}) > 1
    ]
    return (
        f"the published weights of {architecture} are not all preprocessed alike ({'; '.join(ways)}); taken: "
        f"{taken.resize_mode}, {taken.interpolation}, mean {', '.join(f'{value:.3g}' for value in taken.mean)}"
    )


def _activation_doubt(architecture: str, activations: set[bool]) -> str:
    """What to say where some published weights of an architecture were trained with QuickGELU and some without."""
    if activations != {True, False}:
        return ""
    other = f"{architecture}-quickgelu"
    hint = f"; for weights trained with it write {other}@FILE" if other in configs() else ""
    return f"some published weights of {architecture} were trained with QuickGELU, others without; taken: without{hint}"


def _from_hub(spec: ModelSpec, hub: Hub) -> ModelFiles:
    revision = spec.version or None
    config = hub.fetch_model(spec.where, revision)
    source = _from_folder(spec, config.parent, revision=config.parent.name)
    return replace(source, described_by=(*source.described_by, *_reference(config, revision)))


def _reference(path: Path, revision: str | None) -> tuple[Path, ...]:
    """Return the file of the hub's cache that says which commit a branch or tag was when it was last looked up."""
    found = path.parent.parent.parent / "refs" / (revision or "main")
    return (found,) if is_file(found) else ()


def _from_folder(spec: ModelSpec, folder: Path, *, revision: str | None) -> ModelFiles:
    try:
        described = parse_json(folder / CONFIG)
        config = described["model_cfg"]
        preprocessing = preprocessing_of(config, described.get("preprocess_cfg", {}))
        has_parts = all(isinstance(config[key], kind) for key, kind in _PARTS.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {error!r}") from error
    if not has_parts:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {', '.join(_PARTS)} are of the wrong kind")
    has_own = "hf_tokenizer_name" in config["text_cfg"] and is_file(folder / "tokenizer_config.json")
    return ModelFiles(
        spec.name, config, preprocessing, _weights_in(folder), quick_gelu=False,
        tokenizer_folder=str(folder) if has_own else None, revision=revision,
        described_by=(folder / CONFIG,),
    )  # fmt: skip


def _weights_in(folder: Path) -> Path:
    """Return the weights in a folder: those of a known name, safetensors before pickles, or else the only ones."""
    for name in (*WEIGHTS, "open_clip_pytorch_model.safetensors"):
        if is_file(folder / name):
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in _CHECKPOINT_SUFFIXES)
    if len(found) != 1:
        what = "has no weights" if not found else "has several: " + ", ".join(path.name for path in found)
        raise ModelError(f"{folder} {what}", hint=f"name the one to use {WEIGHTS[0]}")
    return found[0]
