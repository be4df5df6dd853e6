"""Resolve a model's name to files on disk and a config, compute its fingerprint, and explain damaged files."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from open_clip import get_model_config, list_pretrained_tags_by_model
from open_clip.pretrained import get_pretrained_cfg
from safetensors import SafetensorError

from clipcli.core.encoder import ModelInfo
from clipcli.core.files import is_file
from clipcli.engines.model_config import check_model_config, parse_json, tokenizer_files
from clipcli.engines.openclip_registry import configs, definition, preprocessing_of, repository
from clipcli.engines.torch_devices import one_kind_of_memory_error
from clipcli.errors import DeviceError, ModelError
from clipcli.hub.local_files import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from clipcli.core.encoder import ModelSpec, Preprocessing
    from clipcli.engines.detector_files import DetectorFiles
    from clipcli.hub.client import Hub

_CHECKPOINT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_PARTS = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}
_BAD_FILES = (
    RuntimeError, LookupError, EOFError, TypeError, ValueError, AttributeError, AssertionError, OSError, StopIteration,
    ArithmeticError,
)  # fmt: skip
"""Exceptions of open_clip, timm and torch for configs and weights that do not fit together."""


@dataclass(frozen=True)
class ModelFiles:
    """The files and settings of a model on this disk."""

    name: str
    config: Mapping[str, Any]
    """open_clip's `model_cfg`."""
    preprocessing: Preprocessing
    weights: Path
    quick_gelu: bool
    tokenizer_folder: str | None
    """The folder of a Hugging Face tokenizer; None for CLIP's own tokenizer."""
    revision: str | None
    text_tower_config: Path | None = None
    """The `config.json` of a text tower that is a Hugging Face model."""
    described_by: tuple[Path, ...] = ()
    """Files besides the weights that define the model; if one changes, the model may change."""

    @property
    def context_length(self) -> int:
        """Return the number of tokens that the text tower reads."""
        return int(self.config.get("text_cfg", {}).get("context_length", 77))

    def info(self, *, causal: bool, digest: Callable[[Path], str]) -> ModelInfo:
        """Return the model's description; `digest` returns the SHA-256 (hex) of a file.

        The fingerprint covers everything that a vector depends on, including the tokenizer; it is the cache's key.
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
    """Find or download the config, the weights and the tokenizer of a model.

    Raises:
        DownloadError: a file is not on this disk and cannot be downloaded.
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
    """Add the files of a Hugging Face text tower, after checking the config."""
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
    """Resolve a checkpoint, which has neither preprocessing nor activation: take those of the architecture's tags.

    If the tags disagree, use open_clip's defaults and print a warning.
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


def _preprocessing_doubt(architecture: str, kinds: set[Preprocessing], used: Preprocessing) -> str:
    """Return a warning if an architecture's published weights differ in preprocessing, else an empty text."""
    if not kinds:  # a single kind, removed by pop(), or no published weights
        return ""
    ways = [
        f"{name} {' or '.join(sorted({str(getattr(kind, name)) for kind in kinds}))}"
        for name in ("resize_mode", "interpolation", "mean", "std")
        if len({getattr(kind, name) for kind in kinds}) > 1
    ]
    return (
        f"the published weights of {architecture} differ in preprocessing ({'; '.join(ways)}); using "
        f"{used.resize_mode}, {used.interpolation}, mean {', '.join(f'{value:.3g}' for value in used.mean)}"
    )


def _activation_doubt(architecture: str, activations: set[bool]) -> str:
    """Return a warning if only some published weights of an architecture use QuickGELU, else an empty text."""
    if activations != {True, False}:
        return ""
    variant = f"{architecture}-quickgelu"
    hint = f"; for weights trained with it write {variant}@FILE" if variant in configs() else ""
    trained = f"some published weights of {architecture} were trained with QuickGELU, others without"
    return f"{trained}; using plain GELU{hint}"


def _from_hub(spec: ModelSpec, hub: Hub) -> ModelFiles:
    revision = spec.version or None
    config = hub.fetch_model(spec.where, revision)
    source = _from_folder(spec, config.parent, revision=config.parent.name)
    return replace(source, described_by=(*source.described_by, *_reference(config, revision)))


def _reference(path: Path, revision: str | None) -> tuple[Path, ...]:
    """Return the file of the hub's cache with the last known commit of a branch or tag."""
    reference = path.parent.parent.parent / "refs" / (revision or "main")
    return (reference,) if is_file(reference) else ()


def _from_folder(spec: ModelSpec, folder: Path, *, revision: str | None) -> ModelFiles:
    try:
        described = parse_json(folder / CONFIG)
        config = described["model_cfg"]
        preprocessing = preprocessing_of(config, described.get("preprocess_cfg", {}))
        has_parts = all(isinstance(config[key], kind) for key, kind in _PARTS.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {error!r}") from error
    if not has_parts:
        raise ModelError(f"{spec.name}: {CONFIG} is not an OpenCLIP config: {', '.join(_PARTS)} have the wrong type")
    has_own = "hf_tokenizer_name" in config["text_cfg"] and is_file(folder / "tokenizer_config.json")
    return ModelFiles(
        spec.name, config, preprocessing, _weights_in(folder), quick_gelu=False,
        tokenizer_folder=str(folder) if has_own else None, revision=revision,
        described_by=(folder / CONFIG,),
    )  # fmt: skip


def _weights_in(folder: Path) -> Path:
    """Return the weights in a folder: those with a known name, safetensors before pickles, else the only ones."""
    for name in (*WEIGHTS, "open_clip_pytorch_model.safetensors"):
        if is_file(folder / name):
            return folder / name
    weights = sorted(path for path in folder.iterdir() if path.suffix in _CHECKPOINT_SUFFIXES)
    if len(weights) != 1:
        problem = "has no weights" if not weights else "has several: " + ", ".join(path.name for path in weights)
        raise ModelError(f"{folder} {problem}", hint=f"name the one to use {WEIGHTS[0]}")
    return weights[0]


@contextmanager
def plain_words(source: ModelFiles | DetectorFiles) -> Iterator[None]:
    """Turn errors about a model's files into errors of one line that name the file.

    Raises:
        ModelError: the files are damaged, do not fit together, or would run code.
        DeviceError: the model does not fit into memory.
    """
    path = source.weights
    try:
        with one_kind_of_memory_error():
            yield
    except SafetensorError as error:
        raise ModelError(
            f"{path} is damaged or not a safetensors file: {_first_line(error)}",
            hint="download it again (clipcli models verify checks its hash)",
        ) from error
    except UnpicklingError as error:
        if "nsupported" not in str(error):
            raise ModelError(f"{path} is damaged or not a checkpoint", hint=_load_hint(error)) from error
        raise ModelError(
            f"{path} is a pickle with more than tensors; loading it would run its code",
            hint="convert it to safetensors if you trust it",
        ) from error
    except MemoryError as error:
        raise DeviceError(
            f"{source.name} does not fit into memory: {error}", hint="use a smaller model, or --precision fp16"
        ) from error
    except _BAD_FILES as error:
        raise ModelError(
            f"cannot load {source.name} from {path}: {_first_line(error)}", hint=_load_hint(error)
        ) from error
    except ImportError as error:
        raise ModelError(f"{source.name} needs a package that is not installed: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__


def _load_hint(error: BaseException) -> str:
    if "state_dict" in str(error):
        return "these weights belong to another architecture"
    return "clipcli models verify checks whether the file is complete"
