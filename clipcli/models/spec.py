"""Parse the names of models, and the choice of device, precision and engine, without loading anything."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from clipcli import bundle as bundles
from clipcli.core.encoder import ModelSpec
from clipcli.core.files import is_file, is_folder
from clipcli.core.optional_packages import has_packages
from clipcli.core.redaction import redact_url
from clipcli.engines.detector_names import DETECTOR_ALIASES, is_detector_name
from clipcli.engines.openclip_registry import architectures, first_tag, tag_of_repository
from clipcli.engines.registry import AUTO, ENGINES
from clipcli.errors import UnknownModelError, UsageError, did_you_mean
from clipcli.hub.local_files import CONFIG
from clipcli.models import records
from clipcli.models.catalogue import DEFAULT_MODEL, default_tag, resolve_alias

if TYPE_CHECKING:
    from clipcli.engines.registry import EngineSpec

_OPENCLIP_NAMES: Final = {
    "openai/clip-vit-base-patch32": "ViT-B-32/openai",
    "openai/clip-vit-base-patch16": "ViT-B-16/openai",
    "openai/clip-vit-large-patch14": "ViT-L-14/openai",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336/openai",
    "sentence-transformers/clip-vit-b-32": "ViT-B-32/openai",
    "sentence-transformers/clip-vit-b-16": "ViT-B-16/openai",
    "sentence-transformers/clip-vit-l-14": "ViT-L-14/openai",
    "google/siglip-base-patch16-224": "ViT-B-16-SigLIP/webli",
    "google/siglip-base-patch16-256": "ViT-B-16-SigLIP-256/webli",
    "google/siglip-base-patch16-384": "ViT-B-16-SigLIP-384/webli",
    "google/siglip-base-patch16-512": "ViT-B-16-SigLIP-512/webli",
    "google/siglip-base-patch16-256-multilingual": "ViT-B-16-SigLIP-i18n-256/webli",
    "google/siglip-base-patch16-256-i18n": "ViT-B-16-SigLIP-i18n-256/webli",
    "google/siglip-large-patch16-256": "ViT-L-16-SigLIP-256/webli",
    "google/siglip-large-patch16-384": "ViT-L-16-SigLIP-384/webli",
    "google/siglip-so400m-patch14-224": "ViT-SO400M-14-SigLIP/webli",
    "google/siglip-so400m-patch14-384": "ViT-SO400M-14-SigLIP-384/webli",
    "google/siglip-so400m-patch16-256-i18n": "ViT-SO400M-16-SigLIP-i18n-256/webli",
    "google/siglip2-base-patch32-256": "ViT-B-32-SigLIP2-256/webli",
    "google/siglip2-base-patch16-224": "ViT-B-16-SigLIP2/webli",
    "google/siglip2-base-patch16-256": "ViT-B-16-SigLIP2-256/webli",
    "google/siglip2-base-patch16-384": "ViT-B-16-SigLIP2-384/webli",
    "google/siglip2-base-patch16-512": "ViT-B-16-SigLIP2-512/webli",
    "google/siglip2-large-patch16-256": "ViT-L-16-SigLIP2-256/webli",
    "google/siglip2-large-patch16-384": "ViT-L-16-SigLIP2-384/webli",
    "google/siglip2-large-patch16-512": "ViT-L-16-SigLIP2-512/webli",
    "google/siglip2-so400m-patch14-224": "ViT-SO400M-14-SigLIP2/webli",
    "google/siglip2-so400m-patch14-384": "ViT-SO400M-14-SigLIP2-378/webli",
    "google/siglip2-so400m-patch16-256": "ViT-SO400M-16-SigLIP2-256/webli",
    "google/siglip2-so400m-patch16-384": "ViT-SO400M-16-SigLIP2-384/webli",
    "google/siglip2-so400m-patch16-512": "ViT-SO400M-16-SigLIP2-512/webli",
    "google/siglip2-giant-opt-patch16-256": "ViT-gopt-16-SigLIP2-256/webli",
    "google/siglip2-giant-opt-patch16-384": "ViT-gopt-16-SigLIP2-384/webli",
    "facebook/metaclip-b32-400m": "ViT-B-32-quickgelu/metaclip_400m",
    "facebook/metaclip-b16-400m": "ViT-B-16-quickgelu/metaclip_400m",
    "facebook/metaclip-l14-400m": "ViT-L-14-quickgelu/metaclip_400m",
    "facebook/metaclip-b32-fullcc2.5b": "ViT-B-32-quickgelu/metaclip_fullcc",
    "facebook/metaclip-b16-fullcc2.5b": "ViT-B-16-quickgelu/metaclip_fullcc",
    "facebook/metaclip-l14-fullcc2.5b": "ViT-L-14-quickgelu/metaclip_fullcc",
    "facebook/metaclip-h14-fullcc2.5b": "ViT-H-14-quickgelu/metaclip_fullcc",
    "facebook/metaclip-2-worldwide-huge-quickgelu": "ViT-H-14-worldwide-quickgelu/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-huge-378": "ViT-H-14-worldwide-378/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-giant": "ViT-bigG-14-worldwide/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-giant-378": "ViT-bigG-14-worldwide-378/metaclip2_worldwide",
    "facebook/pe-core-t16-384": "PE-Core-T-16-384/meta",
    "facebook/pe-core-s16-384": "PE-Core-S-16-384/meta",
    "facebook/pe-core-b16-224": "PE-Core-B-16/meta",
    "facebook/pe-core-l14-336": "PE-Core-L-14-336/meta",
    "facebook/pe-core-g14-448": "PE-Core-bigG-14-448/meta",
    "apple/mobileclip-s1": "MobileCLIP-S1/datacompdr",
    "apple/mobileclip-s2": "MobileCLIP-S2/datacompdr",
    "apple/mobileclip-b": "MobileCLIP-B/datacompdr",
    "apple/mobileclip-b-lt": "MobileCLIP-B/datacompdr_lt",
    "apple/mobileclip2-s0": "MobileCLIP2-S0/dfndr2b",
    "apple/mobileclip2-s2": "MobileCLIP2-S2/dfndr2b",
    "apple/mobileclip2-s3": "MobileCLIP2-S3/dfndr2b",
    "apple/mobileclip2-s4": "MobileCLIP2-S4/dfndr2b",
    "apple/mobileclip2-b": "MobileCLIP2-B/dfndr2b",
    "apple/mobileclip2-l-14": "MobileCLIP2-L-14/dfndr2b",
}
"""Repository of another library, in lower case → `ARCH/TAG` of the same weights in OpenCLIP."""
_NOT_IN_OPENCLIP: Final = (
    r"google/siglip.*(naflex|jax)|google/(vit|owl)|openai/clip-rn|facebook/(metaclip|dino|pe-|flava)|apple/(mobileclip|aim)"
    r"|sentence-transformers/|jinaai/jina-clip|nomic-ai/nomic-embed|salesforce/blip|kakaobrain/align|baai/(altclip|eva)"
    r"|ofa-sys/chinese-clip|cidas/clipseg|microsoft/|laion/clap|quansun/eva-clip|openbmb/|qwen/"
)
"""Pattern of repositories without weights in OpenCLIP, except for those in `_OPENCLIP_NAMES`; compiled on first use."""


def same_weights(repository: str) -> str | None:
    """Return `ARCH/TAG` of the weights in another library's repository, or None if unknown."""
    return _OPENCLIP_NAMES.get(repository.casefold())


def is_of_another_library(repository: str) -> bool:
    """Return whether a repository holds a model that OpenCLIP can neither load nor has itself."""
    name = repository.casefold()
    return name not in _OPENCLIP_NAMES and re.match(_NOT_IN_OPENCLIP, name) is not None


MANIFEST = "manifest.json"
TINY_FOLDER = Path(__file__).parent / "tiny"
_GRAMMAR = (
    "ARCH/TAG, ARCH, hf-hub:org/name, local-dir:path, ARCH@checkpoint, a bundle's folder, or tiny|fast|balanced|best"
)


def parse_model(name: str) -> ModelSpec:
    """Parse a name: `ARCH/TAG`, `ARCH`, `hf-hub:…`, `local-dir:…`, `ARCH@FILE`, a bundle or an alias.

    Raises:
        UnknownModelError: the name has none of these forms, or its folder or file does not exist.
    """
    resolved = resolve_alias(name.strip())
    if resolved in DETECTOR_ALIASES:
        raise _detector_error(resolved)
    if "://" in resolved:
        raise UnknownModelError(f"a model is not a URL: {redact_url(resolved)}", hint=f"write {_GRAMMAR}")
    resolved = _openclip_name(resolved)
    if resolved == "tiny":
        return ModelSpec("bundle", "tiny", str(TINY_FOLDER))
    if resolved.startswith("hf-hub:"):
        return _parse_hub(resolved)
    if resolved.startswith("local-dir:"):
        return _parse_folder(resolved.removeprefix("local-dir:"))
    architecture, separator, checkpoint = resolved.partition("@")
    if separator:
        path = _absolute_path(checkpoint)
        if not _is_file(path):
            raise UnknownModelError(f"no checkpoint at {checkpoint}", hint="ARCH@path/to/checkpoint.safetensors")
        architecture = architecture.replace("/", "-")
        return ModelSpec("checkpoint", f"{architecture}@{path}", architecture, str(path))
    folder = _absolute_path(resolved)
    if _is_file(folder / MANIFEST):
        return ModelSpec("bundle", str(folder), str(folder))
    if resolved and os.path.exists(folder) and resolved.partition("/")[0] not in architectures():  # noqa: PTH110 - see `_is_file`
        raise _path_error(resolved, folder)
    return _parse_tag(resolved)


def _openclip_name(name: str) -> str:
    """Return the OpenCLIP name of weights named by a repository of the hub; other names are returned unchanged.

    Raises:
        UnknownModelError: the repository holds another library's model, which OpenCLIP does not have.
    """
    repo = name.removeprefix("hf-hub:")
    is_path = os.path.exists(_absolute_path(name))  # noqa: PTH110 - see `_is_file`
    if repo.count("/") != 1 or "@" in repo or is_path:
        return name
    if openclip_name := same_weights(repo):
        return openclip_name
    if name == repo and (published := tag_of_repository(repo)) and repo.partition("/")[0] not in architectures():
        return published
    if is_detector_name(repo):
        raise _detector_error(repo)
    if is_of_another_library(repo):
        raise UnknownModelError(
            f"OpenCLIP has no copy of the weights of {repo}", hint="clipcli models list shows the models"
        )
    return name


def _detector_error(name: str) -> UnknownModelError:
    return UnknownModelError(f"{name} is a detection model, which finds boxes", hint=f"clipcli detect -m {name}")


def _path_error(name: str, path: Path) -> UnknownModelError:
    """Return the error for a folder or file named without its prefix."""
    if not is_folder(path):
        return UnknownModelError(f"{name} is a file, which does not say its architecture", hint=f"ARCH@{name}")
    if _is_file(path / CONFIG):
        return UnknownModelError(f"{name} is an OpenCLIP model's folder", hint=f"write local-dir:{name}")
    return UnknownModelError(
        f"{name} is a folder without a model", hint=f"a bundle has {MANIFEST}, an OpenCLIP model {CONFIG}"
    )


def _absolute_path(text: str) -> Path:
    """Return an absolute path; `~name` of an unknown user is a file name."""
    path = Path(text)
    with suppress(RuntimeError):
        path = path.expanduser()
    return path.absolute()


def _is_file(path: Path) -> bool:
    """Return whether the file exists; False for impossible names, such as very long ones."""
    with suppress(OSError):
        return is_file(path)
    return False


def _parse_hub(name: str) -> ModelSpec:
    repo, _, revision = name.removeprefix("hf-hub:").partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo):
        raise UnknownModelError(
            f"not the name of a repository: {name!r}", hint="hf-hub:org/name or hf-hub:org/name@revision"
        )
    return ModelSpec("hub", name, repo, revision)


def _parse_folder(path: str) -> ModelSpec:
    folder = _absolute_path(path)
    if not _is_file(folder / CONFIG):
        problem = f"has no {CONFIG}" if is_folder(folder) else "is not a folder"
        raise UnknownModelError(f"{path} {problem}", hint=f"local-dir: takes a folder with {CONFIG} and weights")
    return ModelSpec("folder", f"local-dir:{folder}", str(folder))


def _parse_tag(name: str) -> ModelSpec:
    """Parse `ViT-B-32`, `ViT-B-32/laion2b_s34b_b79k`, and the papers' spelling `ViT-B/32`, `ViT-B/16-SigLIP`."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", name):
        raise UnknownModelError(f"not a model: {name!r}", hint=f"write {_GRAMMAR}")
    parts = name.split("/")
    if len(parts) > 1 and (parts[1].isdigit() or f"{parts[0]}-{parts[1]}" in architectures()):
        parts[:2] = [f"{parts[0]}-{parts[1]}"]
    if len(parts) > 2:  # noqa: PLR2004 - architecture and tag
        raise UnknownModelError(f"not a model: {name!r}", hint=f"write {_GRAMMAR}")
    architecture = parts[0]
    tag = parts[1] if len(parts) > 1 else default_tag(architecture) or first_tag(architecture)
    return ModelSpec("tag", f"{architecture}/{tag}" if tag else architecture, architecture, tag)


Precision = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Choice:
    """The user's choice of model, device, precision and engine."""

    model: str
    device: str = "auto"
    precision: Precision = "auto"
    engine: str = AUTO
    """`auto`, or a name of `ENGINES`."""
    offline: bool = False
    weights_dir: str | None = None
    """The folder of downloaded weights; None is huggingface_hub's own cache."""
    is_substitute: bool = False
    """Whether no model was named, and `tiny` replaces the default model because torch is not installed."""

    @property
    def spec(self) -> EngineSpec | None:
        """Return the chosen engine's capabilities; None for `auto`."""
        return None if self.engine == AUTO else ENGINES[self.engine]

    @property
    def runs_bundles(self) -> bool:
        """Return whether the chosen engine runs bundles only."""
        return self.spec is not None and self.spec.needs_bundle

    @property
    def runs_sources(self) -> bool:
        """Return whether the chosen engine runs only a model's own files."""
        return self.spec is not None and not self.spec.needs_bundle

    @property
    def own_device(self) -> str:
        """Return the chosen device, or the engine's only device."""
        spec = self.spec
        return spec.devices[0] if spec is not None and len(spec.devices) == 1 else self.device


_PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_ENGINES = (AUTO, *ENGINES)
_DEVICES = ("auto", "cpu", "cuda", "mps")


def parse_choice(
    model: str, device: str, precision: str, engine: str, *, offline: bool, weights_dir: str | None
) -> Choice:
    """Return the checked model options; an empty name means the default model, or `tiny` if that cannot run here.

    Raises:
        UsageError: a device, precision or engine that does not exist.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise _invalid_value("device", device, (*_DEVICES, "cuda:0"))
    if precision not in _PRECISIONS:
        raise _invalid_value("precision", precision, _PRECISIONS)
    if engine not in _ENGINES:
        raise _invalid_value("engine", engine, _ENGINES)
    named = Choice(model, device, cast("Precision", precision), engine, offline, weights_dir)
    if model:
        return named
    needs_torch = device.startswith(("cuda", "mps")) or precision in {"bf16", "fp16"} or named.runs_sources
    is_substitute = not needs_torch and not _can_run_default()
    return replace(named, model="tiny" if is_substitute else DEFAULT_MODEL, is_substitute=is_substitute)


def _can_run_default() -> bool:
    """Return whether the default model can run here: through torch, or as the fast-starting copy of an earlier run."""
    return has_packages("torch") or bundles.is_bundle(records.bundle_folder(DEFAULT_MODEL))


def _invalid_value(kind: str, word: str, allowed: tuple[str, ...]) -> UsageError:
    return UsageError(f"no {kind} {word!r}", hint=f"{did_you_mean(word, allowed)} one of {', '.join(allowed)}".strip())
