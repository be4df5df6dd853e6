"""Optional packages, and the exact command that adds them to this installation."""

from __future__ import annotations

import functools
import json
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from clipcli.errors import ClipcliError, PackageMissingError, TorchMissingError

Extra = Literal["fit", "gcs", "heic", "jxl", "openvino", "parquet", "raw", "ray", "remote", "s3", "torch"]
Installer = Literal["pip", "pipx", "uv pip", "uv tool"]

EXTRAS: Final[dict[Extra, tuple[str, ...]]] = {
    "fit": ("scipy",),
    "gcs": ("gcsfs",),
    "heic": ("pillow_heif",),
    "jxl": ("pillow_jxl",),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "raw": ("rawpy",),
    "ray": ("ray", "pyarrow"),
    "remote": ("fsspec", "aiohttp", "tenacity"),
    "s3": ("s3fs",),
    "torch": ("torch", "torchvision", "open_clip", "timm", "transformers"),
}
"""The extras of pyproject.toml, with the modules whose presence shows that an extra is installed."""
TORCH_SIZE: Final = "5.9 GB"
CPU_TORCH_SIZE: Final = "1.5 GB"
"""Disk space of an installation with `clipcli[torch]` on Linux: with CUDA, and for the CPU only."""
_CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"


def has_packages(extra: Extra) -> bool:
    """Return whether an extra's packages are installed, without importing them."""
    return all(find_spec(name) is not None for name in EXTRAS[extra])


def version_of(package: str) -> str:
    """Return the version of an installed package; empty if its name is not that of a package here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def require_packages(extra: Extra, what: str, error: type[ClipcliError] = PackageMissingError) -> None:
    """Check that an extra is installed, before any work starts.

    Args:
        extra: one of `EXTRAS`.
        what: the feature that needs it, which begins the message: "Parquet", "an index".
        error: the class to raise.

    Raises:
        ClipcliError: it is not installed; the hint is the command that installs it.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        package = "packages" if len(missing) > 1 else "package"
        raise error(f"{what} needs the {package} {' and '.join(missing)}", hint=install_command(extra))


def require_torch(subject: str) -> None:
    """Check that torch is installed, before gigabytes are downloaded.

    Raises:
        TorchMissingError: torch, or a package that models need with it, is not installed.
    """
    missing = [name for name in EXTRAS["torch"] if find_spec(name) is None]
    if "torch" in missing:
        raise TorchMissingError(f"{subject} runs through torch, which is not installed", hint=torch_hint())
    if missing:
        raise TorchMissingError(f"{subject} needs {' and '.join(missing)} beside torch", hint=install_command("torch"))


def torch_hint() -> str:
    """Return the ways to go on, one per line: install torch with CUDA, install it without, or use no torch."""
    lines = [install_command("torch")]
    if sys.platform == "linux":  # elsewhere the usual build is without CUDA
        lines[0] += f"   # {TORCH_SIZE}, with CUDA"
        lines.append(f"{install_command('torch', cpu_only=True)}   # {CPU_TORCH_SIZE}, without CUDA")
    return "\n".join(
        [*lines, "or without torch: --model tiny, or a bundle that somebody made with clipcli models export"]
    )


def install_command(extra: Extra, *, cpu_only: bool = False) -> str:
    """Return the shell command that adds an extra to this installation, with the installer that made it.

    Args:
        extra: one of `EXTRAS`.
        cpu_only: choose torch without CUDA, which the usual build on Linux includes.
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
    """Return the installer of this environment, recognised by the files it leaves there."""
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    return "pip" if find_spec("pip") is not None else "uv pip"


def _present(extra: Extra) -> list[str]:
    """Return the other installed extras: pipx and uv create the environment anew and must keep them."""
    return [name for name in EXTRAS if name not in {extra, "ray"} and has_packages(name)]


def _requirement(extras: list[str]) -> str:
    """Return `clipcli[…]`, or the folder, file or repository from which clipcli was installed."""
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    extras_suffix = f"[{','.join(sorted(extras))}]"
    try:
        origin = json.loads(distribution("clipcli").read_text("direct_url.json") or "{}")
        url = str(origin.get("url", ""))
        if (commit := origin.get("vcs_info")) is not None:
            return _quoted(f"clipcli{extras_suffix} @ {commit['vcs']}+{url}@{commit['commit_id']}")
        path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
        if path is not None and path.exists():
            flag = "-e " if origin.get("dir_info", {}).get("editable") else ""
            return f"{flag}{_quoted(f'{path}{extras_suffix}')}"
    except (PackageNotFoundError, ValueError, KeyError, TypeError, AttributeError, OSError):
        pass  # unreadable metadata: use the plain name
    return _quoted(f"clipcli{extras_suffix}")


def _is_first_on_path(program: str) -> bool:
    """Return whether the shell would run this environment's program of that name."""
    program_path = shutil.which(program)
    return program_path is not None and Path(program_path).parent == Path(sys.executable).parent


def _shown(path: str) -> str:
    """Return a path relative to the working folder if it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def _quoted(word: str) -> str:
    """Return a word quoted for the shell; cmd.exe accepts only double quotes."""
    if sys.platform == "win32":
        return f'"{word}"' if set(word) & set(" [],<>@&^") else word
    return shlex.quote(word)
