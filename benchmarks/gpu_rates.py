"""Images a second from files to vectors on a GPU: clipcli against open_clip with a DataLoader, and both bounds.

    benchmarks/gpu.sh [--count N] [--seconds S] [--models NAME,…] [--photos FOLDER] [--work FOLDER]

For each model, in bf16, from JPEG files and from one tar shard: clipcli, clipcli with `--gpu-decode` (nvJPEG), and
open_clip with a DataLoader (as many workers as cores, pinned memory, non-blocking copies). The bounds are the forward
pass alone, on pixels that lie on the GPU, and decoding alone, on every core. Weights are random: time does not depend
on them. Each case is a process of its own. Writes results/gpu.md. Without a GPU it says so and measures nothing;
`--device cpu` tries the script out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench_embed import draw

RESULTS = Path(__file__).parent / "results"
MODELS = "ViT-B-32,ViT-L-14,ViT-SO400M-14-SigLIP"
SIZE = (1600, 1200)
PEER, FORWARD, DECODING = "open_clip, DataLoader", "bound: forward pass alone", "bound: decoding alone"

COMMON = """
    import os, sys, time, torch
    device, precision, seconds, batch = {device!r}, {precision!r}, {seconds}, {batch}
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def settle():
        if device != "cpu":
            torch.cuda.synchronize()

    def measure(turn):
        turn()
        settle()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            count += turn()
            settle()
        print(count / (time.perf_counter() - began))
"""

OPEN_CLIP = """
    import io, open_clip, tarfile
    from PIL import Image
    model, _, transform = open_clip.create_model_and_transforms({model!r}, device=device)
    model = model.to(dtype).eval()

    class Photos(torch.utils.data.Dataset):
        def __init__(self):
            self.shard, self.files = {shard!r}, sorted(os.listdir({folder!r}))

        def __len__(self):
            return len(self.files)

        def __getitem__(self, index):
            if self.shard is None:
                return transform(Image.open(os.path.join({folder!r}, self.files[index])))
            with tarfile.open(self.shard) as archive:
                return transform(Image.open(io.BytesIO(archive.extractfile(self.files[index]).read())))

    if __name__ == "__main__":
        photos = Photos()
        loader = torch.utils.data.DataLoader(
            photos, batch_size=batch, num_workers=os.cpu_count(), pin_memory=device != "cpu", persistent_workers=True)

        @torch.inference_mode()
        def turn():
            for pixels in loader:
                features = model.encode_image(pixels.to(device, dtype, non_blocking=True), normalize=True)
                features.float().cpu()
            return len(photos)

        measure(turn)
"""

CLIPCLI = """
    from clipcli.core.console import Console
    from clipcli.inputs.collect import collect
    from clipcli.models.spec import parse_choice
    from clipcli.session.session import open_session
    from clipcli.session.prepare import SessionOptions
    choice = parse_choice({checkpoint!r}, device, precision, "openclip", offline=True, weights_dir=None)
    refs = list(collect([{shard!r} or {folder!r}], warn=print))
    options = SessionOptions(use_cache=False, gpu_decode={gpu_decode})
    with open_session(choice, Console(quiet=True), options, expected_images=10**6) as session:
        measure(lambda: sum(embedded.vector is not None for embedded in session.embed_images(refs)))
"""

FORWARD_ALONE = """
    import open_clip
    model = open_clip.create_model({model!r}, device=device).to(dtype).eval()
    pixels = torch.randn(batch, 3, *open_clip.get_model_preprocess_cfg(model)["size"], device=device, dtype=dtype)

    @torch.inference_mode()
    def turn():
        model.encode_image(pixels, normalize=True)
        return batch

    measure(turn)
"""

DECODING_ALONE = """
    from concurrent.futures import ThreadPoolExecutor
    from clipcli.core.encoder import Preprocessing
    from clipcli.images import decode, read
    from clipcli.images.preprocess import to_pixels
    how = Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    paths = [os.path.join({folder!r}, name) for name in os.listdir({folder!r})]
    pool = ThreadPoolExecutor(os.cpu_count())
    measure(lambda: len(list(pool.map(lambda path: to_pixels(decode(read(path)), how)[0, 0, 0], paths))))
"""


@dataclass(frozen=True)
class Case:
    """One way from files to vectors, or a part of it."""

    name: str
    code: str
    settings: dict[str, object] = field(default_factory=dict)


def cases(model: str, folder: Path, shard: Path, checkpoint: Path, *, has_gpu: bool) -> list[Case]:
    """Return the cases of one model."""
    facts: dict[str, object] = {"model": model, "folder": str(folder), "checkpoint": f"{model}@{checkpoint}"}
    found = [Case(FORWARD, FORWARD_ALONE, facts), Case(DECODING, DECODING_ALONE, facts)]
    for source, path in (("JPEG files", None), ("a shard", str(shard))):
        found.append(Case(f"{PEER}, {source}", OPEN_CLIP, {**facts, "shard": path}))
        for gpu_decode in (False, True) if has_gpu else (False,):
            name = f"clipcli{' --gpu-decode' if gpu_decode else ''}, {source}"
            found.append(Case(name, CLIPCLI, {**facts, "shard": path, "gpu_decode": gpu_decode}))
    return found


def measure(case: Case, work: Path, limit: float) -> float | None:
    """Return images a second of one case, in a process of its own; None where it failed or took too long."""
    script = work / "case.py"
    script.write_text(
        textwrap.dedent(COMMON).format(**case.settings) + textwrap.dedent(case.code).format(**case.settings)
    )
    environment = {**os.environ, "CLIPCLI_CACHE_DIR": str(work / "cache"), "HF_HUB_OFFLINE": "1", "CI": "1"}
    try:
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=limit
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{case.name}: {type(error).__name__}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def table(model: str, rates: dict[str, float | None]) -> str:
    """Return the figures of one model in Markdown: shares of both bounds, and times the peer from the same source."""
    rows = [
        f"## {model}\n",
        "| case | images/s | of the forward pass | of decoding | times open_clip |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, rate in rates.items():
        source = name.partition(", ")[2].removeprefix("DataLoader, ")
        bases = (rates[FORWARD], rates[DECODING], rates.get(f"{PEER}, {source}"))
        shares = [f"{rate / base:.2f}" if rate and base else "–" for base in bases]
        rows.append(f"| {name} | {rate:,.0f} | {' | '.join(shares)} |" if rate else f"| {name} | failed | – | – | – |")
    return "\n".join(rows) + "\n"


def prepare(work: Path, photos: Path, count: int) -> tuple[Path, Path]:
    """Draw the photos; return their folder and the shard of them."""
    folder, shard = work / "photos", work / "photos.tar"
    draw(photos, folder, SIZE, count)
    with tarfile.open(shard, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return folder, shard


def checkpoint_of(model: str, work: Path) -> Path:
    """Return a checkpoint with random weights."""
    path = work / f"{model}.pt"
    code = f"import open_clip, torch; torch.save(open_clip.create_model({model!r}).state_dict(), {str(path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    return path


def has_cuda() -> bool:
    """Return whether torch is installed and sees a CUDA device."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def main() -> None:
    """Prepare, measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1024, help="photos")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each case, after the first turn")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which no further case is begun")
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "photos")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not has_cuda():
        sys.exit("no CUDA device here: nothing was measured (--device cpu tries the script out)")
    began, has_gpu = time.monotonic(), arguments.device != "cpu"
    facts = {
        "device": arguments.device, "precision": "bf16" if has_gpu else "fp32",
        "seconds": arguments.seconds, "batch": arguments.batch,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        folder, shard = prepare(work, arguments.photos, arguments.count)
        parts = [heading(arguments.device, arguments.count)]
        for model in arguments.models.split(","):
            checkpoint, rates = checkpoint_of(model, work), {}
            for case in cases(model, folder, shard, checkpoint, has_gpu=has_gpu):
                left = arguments.minutes * 60 - (time.monotonic() - began)
                whole = Case(case.name, case.code, {**facts, **case.settings})
                rates[case.name] = measure(whole, work, left) if left > 0 else None
                print(f"{model}: {case.name}: {rates[case.name]}", file=sys.stderr, flush=True)
            parts.append(table(model, rates))
            checkpoint.unlink()
    text = "\n".join(parts)
    print(text)
    if has_gpu:
        (RESULTS / "gpu.md").write_text(text, encoding="utf-8")


def heading(device: str, count: int) -> str:
    """Return what was measured, and where."""
    name = device
    if device != "cpu":
        import torch

        name = torch.cuda.get_device_name(torch.device(device))
    photos = f"{count:,} photos of {SIZE[0]} × {SIZE[1]} pixels"
    machine = f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"# On a GPU\n\n`benchmarks/gpu.sh`: {machine}, {photos}\n"


if __name__ == "__main__":
    main()
