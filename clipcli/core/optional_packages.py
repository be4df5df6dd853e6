"""Packages that only some installations have, and the exact command that adds them to this one."""

from __future__ import annotations

import functools
import json
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from clipcli.errors import ClipcliError, PackageMissingError, TorchMissingError

Extra = Literal["fit", "gcs", "heic", "index", "jxl", "openvino", "parquet", "raw", "ray", "remote", "s3", "torch"]
Installer = Literal["pip", "pipx", "uv pip", "uv tool"]

EXTRAS: Final[dict[Extra, tuple[str, ...]]] = {
    "fit": ("scipy",),
    "gcs": ("gcsfs",),
    "heic": ("pillow_heif",),
    "index": ("usearch",),
    "jxl": ("pillow_jxl",),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "raw": ("rawpy",),
    "ray": ("ray", "pyarrow"),
    "remote": ("fsspec", "aiohttp", "tenacity"),
    "s3": ("s3fs",),
    "torch": ("torch", "torchvision", "open_clip", "timm", "transformers"),
}
"""The extras of pyproject.toml, and the modules that tell whether one is installed."""
TORCH_SIZE: Final = "5.9 GB"
CPU_TORCH_SIZE: Final = "1.5 GB"
"""What an installation with `clipcli[torch]` takes on disk on Linux: with CUDA, and for the CPU only."""
_CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"


def has_packages(extra: Extra) -> bool:
    """Return whether an extra's packages are installed; none of them is imported."""
    return all(find_spec(name) is not None for name in EXTRAS[extra])


def require_packages(extra: Extra, what: str, error: type[ClipcliError] = PackageMissingError) -> None:
    """Check that an extra is installed before any work is done for which it is needed.

    Args:
        extra: one of `EXTRAS`.
        what: what needs it, as the message begins: "Parquet", "an index".
        error: the class to raise.

    Raises:
        ClipcliError: it is not; the hint is the command that installs it.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        package = "packages" if len(missing) > 1 else "package"
        raise error(f"{what} needs the {package} {' and '.join(missing)}", hint=install_command(extra))


def require_torch(what: str) -> None:
    """Check that models can run through torch here, before gigabytes are fetched.

    Raises:
        TorchMissingError: torch, or a package that a model needs beside it, is not installed.
    """
    missing = [name for name in EXTRAS["torch"] if find_spec(name) is None]
    if "torch" in missing:
        raise TorchMissingError(f"{what} runs through torch, which is not installed", hint=torch_hint())
    if missing:
        raise TorchMissingError(f"{what} needs {' and '.join(missing)} beside torch", hint=install_command("torch"))


def torch_hint() -> str:
    """Return the ways to a model that needs torch, one a line: the whole, that without CUDA, and none at all."""
    lines = [install_command("torch")]
    if sys.platform == "linux":  # elsewhere the usual build is without CUDA
        lines[0] += f"   # {TORCH_SIZE}, with CUDA"
        lines.append(f"{install_command('torch', cpu_only=True)}   # {CPU_TORCH_SIZE}, without CUDA")
    return "\n".join(
        [*lines, "or without torch: --model tiny, or a bundle that somebody made with clipcli models export"]
    )


def install_command(extra: Extra, *, cpu_only: bool = False) -> str:
    """Return the command that adds an extra to this installation, for the shell, by the installer that made it.

    Args:
        extra: one of `EXTRAS`.
        cpu_only: torch without CUDA, where the usual build on Linux brings it.
    """
    return _command(installer(), extra, cpu_only=cpu_only)


def _command(tool: Installer, extra: Extra, *, cpu_only: bool) -> str:
    match tool:
        case "pipx":
            index = f" --pip-args={_quoted(f'--extra-index-url {_CPU_INDEX}')}" if cpu_only else ""
            return f"pipx install --force {_requirement([extra, *_present(extra)])}{index}"
        case "uv tool":
            backend = " --torch-backend cpu" if cpu_only else ""
            return f"uv tool install {_requirement([extra, *_present(extra)])}{backend}"
        case "uv pip":
            backend = " --torch-backend cpu" if cpu_only else ""
            python = "" if _is_first_on_path("python") else f" --python {_quoted(_shown(sys.executable))}"
            return f"uv pip install{python} {_requirement([extra])}{backend}"
        case _:
            index = f" --extra-index-url {_CPU_INDEX}" if cpu_only else ""
            pip = "pip" if _is_first_on_path("pip") else f"{_quoted(_shown(sys.executable))} -m pip"
            return f"{pip} install {_requirement([extra])}{index}"


@functools.cache
def installer() -> Installer:
    """Return what made this installation, by the files that it leaves in the environment."""
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    return "pip" if find_spec("pip") is not None else "uv pip"


def _present(extra: Extra) -> list[str]:
    """Return the other extras that are here: pipx and uv's tools are made anew, and should not lose them."""
    return [name for name in EXTRAS if name not in {extra, "ray"} and has_packages(name)]


def _requirement(extras: list[str]) -> str:
    """`clipcli[…]`, or the folder, file or repository that this installation was made from."""
    wanted = f"[{','.join(sorted(extras))}]"
    try:
        origin = json.loads(distribution("clipcli").read_text("direct_url.json") or "{}")
        url = str(origin.get("url", ""))
        if (commit := origin.get("vcs_info")) is not None:
            return _quoted(f"clipcli{wanted} @ {commit['vcs']}+{url}@{commit['commit_id']}")
        path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
        if path is not None and path.exists():
            flag = "-e " if origin.get("dir_info", {}).get("editable") else ""
            return f"{flag}{_quoted(f'{path}{wanted}')}"
    except (PackageNotFoundError, ValueError, KeyError, TypeError, AttributeError, OSError):
        pass  # a description that nobody can read says nothing
    return _quoted(f"clipcli{wanted}")


def _is_first_on_path(program: str) -> bool:
    """Return whether the shell's own program of this name is that of this Python."""
    found = shutil.which(program)
    return found is not None and Path(found).parent == Path(sys.executable).parent


def _shown(path: str) -> str:
    """Return a path below the working folder is shown from there."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def _quoted(word: str) -> str:
    """Return a word for the shell; cmd.exe knows only double quotes."""
    if sys.platform == "win32":
        return f'"{word}"' if set(word) & set(" [],<>@&^") else word
    return shlex.quote(word)
