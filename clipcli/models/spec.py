"""The ways to name a model, told apart without loading anything."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from clipcli.core.encoder import ModelSpec
from clipcli.core.files import is_file, is_folder
from clipcli.core.redaction import redact_url
from clipcli.engines.openclip_registry import architectures, first_tag, tag_of_repository
from clipcli.errors import UnknownModelError
from clipcli.hub import CONFIG
from clipcli.models.catalogue import default_tag, resolve_alias
from clipcli.models.other_names import is_of_another_library, same_weights

MANIFEST = "manifest.json"
TINY_FOLDER = Path(__file__).parent / "tiny"
_GRAMMAR = (
    "ARCH/TAG, ARCH, hf-hub:org/name, local-dir:path, ARCH@checkpoint, a bundle's folder, or tiny|fast|balanced|best"
)


def parse_model(name: str) -> ModelSpec:
    """Tell what a name means: `ARCH/TAG`, `ARCH`, `hf-hub:…`, `local-dir:…`, `ARCH@FILE`, a bundle or an alias.

    Raises:
        UnknownModelError: the name has none of these forms, or names a folder or file that is not there.
    """
    asked = resolve_alias(name.strip())
    if "://" in asked:
        raise UnknownModelError(f"a model is not a URL: {redact_url(asked)}", hint=f"write {_GRAMMAR}")
    asked = _in_openclip(asked)
    if asked == "tiny":
        return ModelSpec("bundle", "tiny", str(TINY_FOLDER))
    if asked.startswith("hf-hub:"):
        return _hub(asked)
    if asked.startswith("local-dir:"):
        return _folder(asked.removeprefix("local-dir:"))
    architecture, at, checkpoint = asked.partition("@")
    if at:
        path = _absolute(checkpoint)
        if not _is_file(path):
            raise UnknownModelError(f"no checkpoint at {checkpoint}", hint="ARCH@path/to/checkpoint.safetensors")
        architecture = architecture.replace("/", "-")
        return ModelSpec("checkpoint", f"{architecture}@{path}", architecture, str(path))
    folder = _absolute(asked)
    if _is_file(folder / MANIFEST):
        return ModelSpec("bundle", str(folder), str(folder))
    if asked and os.path.exists(folder) and asked.partition("/")[0] not in architectures():  # noqa: PTH110 - see `_is_file`
        raise _path_without_form(asked, folder)
    return _tag(asked)


def _in_openclip(asked: str) -> str:
    """The OpenCLIP name of weights that were named by a repository of the hub; any other name comes back unchanged.

    Raises:
        UnknownModelError: it is another library's model, of which OpenCLIP has no copy.
    """
    repo = asked.removeprefix("hf-hub:")
    is_path = os.path.exists(_absolute(asked))  # noqa: PTH110 - see `_is_file`
    if repo.count("/") != 1 or "@" in repo or is_path:
        return asked
    if same := same_weights(repo):
        return same
    if asked == repo and (published := tag_of_repository(repo)) and repo.partition("/")[0] not in architectures():
        return published
    if is_of_another_library(repo):
        raise UnknownModelError(
            f"no OpenCLIP weights are the same as {repo}", hint="clipcli models list shows which models there are"
        )
    return asked


def _path_without_form(asked: str, path: Path) -> UnknownModelError:
    """Return a hint for a folder or a file that was named without its prefix."""
    if not is_folder(path):
        return UnknownModelError(f"{asked} is a file, which does not say its architecture", hint=f"ARCH@{asked}")
    if _is_file(path / CONFIG):
        return UnknownModelError(f"{asked} is an OpenCLIP model's folder", hint=f"write local-dir:{asked}")
    return UnknownModelError(
        f"{asked} is a folder without a model", hint=f"a bundle has {MANIFEST}, an OpenCLIP model {CONFIG}"
    )


def _absolute(text: str) -> Path:
    """Also from another folder the same; `~name` of nobody is a file's name."""
    path = Path(text)
    with suppress(RuntimeError):
        path = path.expanduser()
    return path.absolute()


def _is_file(path: Path) -> bool:
    """Return whether there is such a file; no for names that cannot be one, such as a very long one."""
    with suppress(OSError):
        return is_file(path)
    return False


def _hub(asked: str) -> ModelSpec:
    repo, _, revision = asked.removeprefix("hf-hub:").partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo):
        raise UnknownModelError(
            f"not the name of a repository: {asked!r}", hint="hf-hub:org/name or hf-hub:org/name@revision"
        )
    return ModelSpec("hub", asked, repo, revision)


def _folder(path: str) -> ModelSpec:
    folder = _absolute(path)
    if not _is_file(folder / CONFIG):
        what = f"has no {CONFIG}" if is_folder(folder) else "is not a folder"
        raise UnknownModelError(f"{path} {what}", hint=f"local-dir: takes a folder with {CONFIG} and weights")
    return ModelSpec("folder", f"local-dir:{folder}", str(folder))


def _tag(asked: str) -> ModelSpec:
    """`ViT-B-32`, `ViT-B-32/laion2b_s34b_b79k`, and the papers' spelling `ViT-B/32`, `ViT-B/16-SigLIP`."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", asked):
        raise UnknownModelError(f"not a model: {asked!r}", hint=f"write {_GRAMMAR}")
    parts = asked.split("/")
    if len(parts) > 1 and (parts[1].isdigit() or f"{parts[0]}-{parts[1]}" in architectures()):
        parts[:2] = [f"{parts[0]}-{parts[1]}"]
    if len(parts) > 2:  # noqa: PLR2004 - architecture and tag
        raise UnknownModelError(f"not a model: {asked!r}", hint=f"write {_GRAMMAR}")
    architecture = parts[0]
    tag = parts[1] if len(parts) > 1 else default_tag(architecture) or first_tag(architecture)
    return ModelSpec("tag", f"{architecture}/{tag}" if tag else architecture, architecture, tag)
