"""Collect every finding for a bug report: versions, settings, cache folders, devices, and a test of the model.

Large packages such as torch are not imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from clipcli import __version__
from clipcli.cache import cache_folder
from clipcli.config.load import load_config
from clipcli.config.location import NAME, foreign_config
from clipcli.config.option_defaults import VARIABLES, config_values
from clipcli.core.devices import accelerator
from clipcli.core.files import is_file, is_folder, is_there
from clipcli.core.optional_packages import has_packages, install_command
from clipcli.core.redaction import redact
from clipcli.core.vectors import unit_length
from clipcli.errors import ClipcliError, ConfigError
from clipcli.models import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from clipcli.core.vectors import Vectors

Area = Literal["version", "platform", "device", "cache", "environment", "config", "network", "test"]
_LISTED_PACKAGES = ("onnxruntime", "tokenizers", "safetensors", "huggingface_hub", "pillow", "numpy", "typer", "rich")
"""Packages that affect answers the most."""
_NEEDED_PACKAGES = (
    "filelock", "ftfy", "pathspec", "platformdirs", "send2trash", "textual-image", "threadpoolctl", "tqdm",
)  # fmt: skip
"""Packages listed only if one is missing."""
_TORCH_PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "onnx", "onnxscript")
"""Packages of the extra `torch`."""
_OPTIONAL_PACKAGES = ("pyarrow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "fsspec", "s3fs", "gcsfs", "ray")
_MIN_FREE_BYTES = 100_000_000
"""Free bytes below which caches are likely to fail."""
_CPU_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm"
)  # fmt: skip
"""Flags of /proc/cpuinfo that determine speed and precisions."""
ANSWER_FILE = Path(__file__).parent / "tiny-answer.json"
ANSWER_TEXTS = ("a red circle", "a photo of a cat")
_MIN_COSINE = 0.999
"""Least cosine. Processors and versions of ONNX Runtime differ by 1e-6, a damaged model by far more."""
_ANSWER_DIGITS = 5


@dataclass(frozen=True)
class DoctorRow:
    """One finding."""

    area: Area
    name: str
    value: str
    ok: bool | None = None
    """True if it is good; None if it is only information."""
    columns: ClassVar[tuple[str, ...]] = ("area", "name", "value", "ok")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return `{"area": …, "name": …, "value": …, "ok": true | false | null}`."""
        return {"area": self.area, "name": self.name, "value": redact(self.value), "ok": self.ok}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.area, self.name, redact(self.value), {True: "yes", False: "NO", None: ""}[self.ok])]


def examine() -> Iterator[DoctorRow]:
    """Yield every finding; the test of the embedded model, the slowest, comes last. Opens no connection."""
    network = DoctorRow("network", "probed", "no: clipcli doctor opens no connection")
    settings = chain(environment(), config_file())
    return chain(versions(), machine(), devices(), folders(), settings, [network], embedded_model())


def environment() -> Iterator[DoctorRow]:
    """Yield the environment variables that are set, without values of secrets."""
    for variable in VARIABLES:
        value = os.environ.get(variable.name)
        if value is not None:
            yield DoctorRow("environment", variable.name, "set, not shown" if variable.secret else value)


def config_file() -> Iterator[DoctorRow]:
    """Yield the config file of the working folder, its defaults and its checks."""
    try:
        config = load_config()
    except ConfigError as error:
        yield DoctorRow("config", "file", error.message, ok=False)
        return
    if foreign := foreign_config():
        yield DoctorRow("config", "ignored", f"{foreign}: it belongs to another user")
    if config.path is None:
        yield DoctorRow("config", "file", f"none: no {NAME} and no [tool.clipcli] for this folder")
        return
    yield DoctorRow("config", "file", config.path)
    for name, value in config_values(config).items():
        yield DoctorRow("config", name, ", ".join(value) if isinstance(value, list) else str(value))
    yield DoctorRow("config", "checks", ", ".join(check.name for check in config.checks) or "none")


def versions() -> Iterator[DoctorRow]:
    """Yield the versions of clipcli, Python and the packages; a missing required package is a fault."""
    yield DoctorRow("version", "clipcli", __version__)
    yield DoctorRow("version", "python", f"{platform.python_version()} ({sys.executable})")
    for name in _LISTED_PACKAGES + _NEEDED_PACKAGES:
        installed = _version(name)
        if installed is None or name in _LISTED_PACKAGES:
            yield DoctorRow("version", name, installed or "not installed", None if installed else False)
    for name in _TORCH_PACKAGES + _OPTIONAL_PACKAGES:
        yield DoctorRow("version", name, _version(name) or "not installed (optional)")
    yield DoctorRow("version", "models", _runnable_models())


def machine() -> Iterator[DoctorRow]:
    """Yield system, processor and memory."""
    yield DoctorRow("platform", "system", platform.platform())
    yield DoctorRow("platform", "machine", platform.machine())
    yield DoctorRow("platform", "cores", _cores())
    memory = _memory_bytes()
    yield DoctorRow("platform", "memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB")
    yield DoctorRow("platform", "encoding", f"{sys.getfilesystemencoding()} file names, {sys.stdout.encoding} output")


def _runnable_models() -> str:
    """Return which models this installation can run, and the command to add the others."""
    if has_packages("torch"):
        return "all: through torch, and bundles through ONNX Runtime"
    return f"tiny and bundles; for all others: {install_command('torch')}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cores() -> str:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return str(count) if usable == count else f"{count}, of which this process may use {usable}"


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not a POSIX system, or unknown
        return None


def folders() -> Iterator[DoctorRow]:
    """Yield the path, the size and the state of each cache folder."""
    clipcli_cache = cache_folder()
    yield DoctorRow("cache", "clipcli", f"{clipcli_cache}, {_folder_state(clipcli_cache)}", _is_usable(clipcli_cache))
    for name in ("vectors", "bundles", "models"):
        parts = [clipcli_cache / name]
        if name == "vectors":
            parts = list(clipcli_cache.glob("vectors-*")) if is_folder(clipcli_cache) else []
        yield DoctorRow("cache", f"clipcli {name}", _megabytes(sum(map(size_of, parts))))
    hub = hub_folder()
    models = sum(entry.name.startswith("models--") for entry in hub.iterdir()) if is_folder(hub) else 0
    yield DoctorRow("cache", "hub", f"{hub}, {_folder_state(hub)}, {models} repositor{'y' if models == 1 else 'ies'}")


def hub_folder() -> Path:
    """Return huggingface_hub's cache folder."""
    from clipcli.hub.local_files import repository_folder

    return repository_folder("any/name", None).parent


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of the files in a folder; links are not followed."""
    if is_file(path):
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = (Path(folder) / name).lstat()
            except OSError:
                continue
            total += status.st_size
    return total


def _folder_state(folder: Path) -> str:
    return _megabytes(size_of(folder)) if is_folder(folder) else "does not exist yet"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _is_usable(folder: Path) -> bool:
    """Return whether files can be created in a folder, or in its nearest existing parent, and there is space."""
    existing_folder = next(parent for parent in (folder, *folder.absolute().parents) if is_there(parent))
    if not (is_folder(existing_folder) and os.access(existing_folder, os.W_OK | os.X_OK)):
        return False
    if not hasattr(os, "statvfs"):
        return True
    disk = os.statvfs(existing_folder)
    return disk.f_bavail * disk.f_frsize >= _MIN_FREE_BYTES


def devices() -> Iterator[DoctorRow]:
    """Yield one row each for CUDA, MPS, the CPU, and the choice of `--device auto`."""
    device = accelerator()
    yield DoctorRow("device", "auto", _chosen(device))
    yield DoctorRow("device", "cuda", _cuda(device == "cuda"))
    yield DoctorRow("device", "mps", _mps())
    yield DoctorRow("device", "cpu", _cpu(Path("/proc/cpuinfo")))


def _chosen(device: str | None) -> str:
    build = _cuda_of_torch()
    if device == "cuda" and build == "":
        return "cpu: there is an NVIDIA device, but the installed torch is a build for the CPU"
    return device or "cpu"


def _cuda(has_device: bool) -> str:
    build = _cuda_of_torch()
    torch = {None: "torch is not installed", "": "torch is a build for the CPU"}.get(build, f"torch for CUDA {build}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limits = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r}"
    if has_device:
        return f"yes: the NVIDIA driver lists a device; {torch}{limits}"
    if platform.system() == "Darwin":
        return "no: there is no CUDA on macOS"
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"no: there is no NVIDIA driver ({library}); {torch}"
    return f"no: the NVIDIA driver is there but lists no device; {torch}{limits}"


def _cuda_of_torch() -> str | None:
    """Return the CUDA version of the installed torch; empty for a CPU build, None without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return match[1] if match else ""


def _mps() -> str:
    if platform.system() != "Darwin":
        return "no: only on macOS"
    return "yes: Apple silicon" if platform.machine() == "arm64" else "no: needs Apple silicon"


def _cpu(cpuinfo: Path) -> str:
    """Return the processor's name, its vector extensions, and whether it supports bfloat16."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = dict(re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE))
    flags = set((fields.get("flags") or fields.get("Features", "")).split())
    features = [name for name in _CPU_FEATURES if name in flags]
    bf16 = "computes in bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "no bf16"
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name}; {' '.join(features) or 'no known vector extensions'}; {bf16}"


@dataclass(frozen=True)
class ModelAnswer:
    """A model's unit vectors of the drawn picture and of `TEXTS`."""

    fingerprint: str
    vectors: Vectors
    """(1 + texts, dim)."""


def embedded_model() -> Iterator[DoctorRow]:
    """Run `tiny` on one picture and two texts, and compare the vectors with the stored ones."""
    if not is_file(spec.TINY_FOLDER / spec.MANIFEST):
        yield DoctorRow("test", "tiny", "skipped: the embedded model is not part of this installation")
        return
    started = time.perf_counter()
    try:
        answer, expected = compute_answer(), read_answer()
    except ClipcliError as error:
        yield DoctorRow("test", "tiny", f"failed: {error.message}", ok=False)
        return
    except (ImportError, OSError, ValueError, KeyError) as error:
        yield DoctorRow("test", "tiny", f"failed: {type(error).__name__}: {error}", ok=False)
        return
    seconds = time.perf_counter() - started
    if answer.fingerprint != expected.fingerprint:
        text = f"failed: the model is {answer.fingerprint}, but the stored answer is for {expected.fingerprint}"
        yield DoctorRow("test", "tiny", text, ok=False)
        return
    agreement = float((answer.vectors * expected.vectors).sum(axis=1).min())
    outcome = f"its known answer, cosine {agreement:.5f}, in {seconds:.2f} s"
    ok = agreement >= _MIN_COSINE
    yield DoctorRow("test", "tiny", outcome if ok else f"failed: not {outcome}", ok=ok)


def draw_disc(height: int, width: int) -> Image.Image:
    """Return a red disc on white in the model's size, so that nothing is resized."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), fill=(220, 30, 30))
    return picture


def compute_answer() -> ModelAnswer:
    """Return the present answer of the embedded model.

    Raises:
        ModelError: the model is damaged, or does not run here.
    """
    from clipcli.core.console import Console
    from clipcli.images.preprocess import to_pixels
    from clipcli.models.model import Model
    from clipcli.models.spec import Choice

    encoder = Model(Choice("tiny", "cpu", offline=True), Console(quiet=True)).encoder
    preprocessing = encoder.info.preprocessing
    image = encoder.encode_images(to_pixels(draw_disc(*preprocessing.image_size), preprocessing)[None])
    texts = encoder.encode_texts(ANSWER_TEXTS)
    return ModelAnswer(encoder.info.fingerprint, unit_length(np.concatenate([image, texts])))


def read_answer() -> ModelAnswer:
    """Return the stored answer. Raises OSError, ValueError or KeyError if it cannot be read."""
    data = json.loads(ANSWER_FILE.read_text(encoding="utf-8"))
    return ModelAnswer(str(data["fingerprint"]), np.array(data["vectors"], np.float32))


def keep_answer() -> None:
    """Store the present answer of the embedded model, after a new model was trained.

    python -c "from clipcli.runs.doctor.run import keep_answer; keep_answer()"
    """
    answer = compute_answer()
    rows = [[round(float(value), _ANSWER_DIGITS) for value in row] for row in answer.vectors]
    text = json.dumps({"fingerprint": answer.fingerprint, "vectors": rows}, separators=(",", ":"))
    ANSWER_FILE.write_text(text + "\n", encoding="utf-8")
