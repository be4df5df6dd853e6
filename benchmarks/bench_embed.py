"""Images a second from files to vectors, ViT-B-32: clipcli against the plain open_clip loop, a DataLoader and a peer.

    python benchmarks/bench_embed.py [--rounds N] [--photos FOLDER] [--count N] [--work FOLDER]

Every case is a process of its own, which loads its model once and stays; the cases take turns, a few seconds each, so
that a busy machine slows all of them alike. Photos of FOLDER (default: ../shared/data/photos; drawn noise
where that is missing) are brought to 0.3 and to 12 megapixels. Weights are random: time does not depend on them.
sentence-transformers joins in where it is installed. Prints tables and writes results/embed.json and results/embed.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.core.batch_invariance import image_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"
SIZES = {"0.3 MP": (640, 480), "12 MP": (4000, 3000)}
PLAIN = "open_clip loop"

COMMON = """
    import glob, resource, time
    paths = sorted(glob.glob({photos!r} + "/*.jpg"))

    def core_seconds():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    def timed(embed):
        embed(paths[:16])
        print("ready", flush=True)
        while input() == "go":
            began, cores = time.perf_counter(), core_seconds()
            vectors = embed(paths)
            assert len(vectors) == len(paths)
            print(len(paths) / (time.perf_counter() - began), (core_seconds() - cores) / len(paths) * 1000, flush=True)
"""

LOOP = """
    import open_clip, torch
    from PIL import Image
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained={weights!r})
    model.eval()

    def embed(paths):
        vectors = []
        with torch.no_grad():
            for start in range(0, len(paths), 32):
                batch = torch.stack([transform(Image.open(path)) for path in paths[start : start + 32]])
                features = model.encode_image(batch)
                vectors.append(features / features.norm(dim=-1, keepdim=True))
        return torch.cat(vectors).numpy()

    timed(embed)
"""

LOADER = """
    import os, open_clip, torch
    from PIL import Image
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained={weights!r})
    model.eval()

    class Photos(torch.utils.data.Dataset):
        def __init__(self, paths):
            self.paths = paths

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            return transform(Image.open(self.paths[index]))

    def embed(paths):
        vectors = []
        with torch.no_grad():
            for batch in torch.utils.data.DataLoader(Photos(paths), batch_size=32, num_workers=os.cpu_count()):
                features = model.encode_image(batch)
                vectors.append(features / features.norm(dim=-1, keepdim=True))
        return torch.cat(vectors).numpy()

    timed(embed)
"""

PEER = """
    from sentence_transformers import SentenceTransformer
    from PIL import Image
    model = SentenceTransformer({peer!r}, device="cpu")

    def embed(paths):
        return model.encode([Image.open(path) for path in paths], batch_size=32, normalize_embeddings=True)

    timed(embed)
"""

MAKE_PEER = """
    from pathlib import Path
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
    from sentence_transformers import SentenceTransformer
    folder = {peer!r}
    CLIPModel(CLIPConfig()).save_pretrained(folder + "/clip")
    CLIPImageProcessor().save_pretrained(folder + "/clip")
    try:
        from sentence_transformers.models import CLIPModel as Module
    except ImportError:
        from sentence_transformers.sentence_transformer.modules import CLIPModel as Module
    import shutil
    shutil.copy({vocabulary!r}, folder + "/clip/tokenizer.json")
    SentenceTransformer(modules=[Module(folder + "/clip")]).save(folder)
"""

OURS = """
    from clipcli.models.spec import parse_choice
    from clipcli.inputs.sources.refs import ImageRef
    from clipcli.session.session import open_session
    from clipcli.session.prepare import SessionOptions
    from clipcli.core.console import Console
    choice = parse_choice({spec!r}, "cpu", {precision!r}, {engine!r}, offline=True, weights_dir=None)
    options = SessionOptions(use_cache={cached}, fast_decode={fast})
    with open_session(choice, Console(quiet=True), options, expected_images=10**6) as session:
        if not {cached}:
            session.model.encoder

        def embed(paths):
            return [found.vector for found in session.embed_images([ImageRef(path, path) for path in paths])]

        timed(embed)
"""

DECODING = """
    from concurrent.futures import ThreadPoolExecutor
    import os
    from clipcli.core.encoder import Preprocessing
    from clipcli.images import decode, read
    from clipcli.images.preprocess import to_pixels
    how = Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))

    def one(path):
        return to_pixels(decode(read(path), draft={draft}), how)[0, 0, 0]

    def embed(paths):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(one, paths))

    timed(embed)
"""

FORWARD = """
    from concurrent.futures import ThreadPoolExecutor
    import numpy
    from clipcli.models.spec import parse_choice
    from clipcli.models.model import Model
    from clipcli.core.console import Console
    choice = parse_choice({spec!r}, "cpu", {precision!r}, {engine!r}, offline=True, weights_dir=None)
    encoder = Model(choice, Console(quiet=True), 10**6).encoder
    pixels = numpy.random.default_rng(0).standard_normal(({batch}, 3, 224, 224), dtype=numpy.float32)

    def embed(paths):
        batches = [pixels[: len(paths) - start] for start in range(0, len(paths), {batch})]
        with ThreadPoolExecutor(encoder.image_lanes) as lanes:
            return [row for rows in lanes.map(encoder.encode_images, batches) for row in rows]

    timed(embed)
"""


@dataclass(frozen=True)
class Case:
    """One way from files to vectors."""

    name: str
    code: str
    settings: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """What a run took. On a busy machine the second figure says more: it hardly depends on who else is there."""

    images_a_second: float
    core_milliseconds: float
    """Of processor time on all cores, an image."""


def cases(work: Path, peer: bool) -> list[Case]:
    """All ways, each with the settings of its script."""
    bundle, checkpoint = str(work / "bundle"), f"ViT-B-32@{work / 'ViT-B-32.pt'}"
    onnx = {
        "spec": bundle,
        "precision": "auto",
        "engine": "auto",
        "cached": False,
        "fast": False,
        "batch": image_rows("fp32"),
    }
    bf16 = {**onnx, "spec": checkpoint, "precision": "bf16", "engine": "openclip", "batch": image_rows("bf16")}
    found = [
        Case(PLAIN, LOOP, {"weights": str(work / "ViT-B-32.pt")}),
        Case("open_clip, DataLoader", LOADER, {"weights": str(work / "ViT-B-32.pt")}),
        Case("clipcli, fp32", OURS, onnx),
        Case("clipcli, fp32, --fast-decode", OURS, {**onnx, "fast": True}),
        Case("clipcli, --precision bf16", OURS, bf16),
        Case("clipcli, --precision bf16 --fast-decode", OURS, {**bf16, "fast": True}),
        Case("clipcli, from the cache", OURS, {**onnx, "cached": True}),
        Case("bound: decoding alone", DECODING, {"draft": None}),
        Case("bound: decoding alone, fast", DECODING, {"draft": (448, 448)}),
        Case("bound: model alone, fp32", FORWARD, onnx),
        Case("bound: model alone, bf16", FORWARD, bf16),
    ]
    return (
        [*found[:2], Case("sentence-transformers", PEER, {"peer": str(work / "peer")}), *found[2:]] if peer else found
    )


def prepare(work: Path, photos: Path, counts: dict[str, int]) -> bool:
    """A random checkpoint, its bundle, the peer's model, the photos; whether the peer is here."""
    make = f"""import open_clip, torch; torch.manual_seed(0)
torch.save(open_clip.create_model('ViT-B-32').state_dict(), {str(work / "ViT-B-32.pt")!r})"""
    if not (work / "bundle").exists():
        subprocess.run([sys.executable, "-c", make], check=True)
        export = [sys.executable, "-m", "clipcli", "models", "export", f"ViT-B-32@{work / 'ViT-B-32.pt'}"]
        subprocess.run([*export, "-o", str(work / "bundle")], check=True, stdout=subprocess.DEVNULL)
    for name, size in SIZES.items():
        draw(photos, work / name.replace(" ", ""), size, counts[name])
    if importlib.util.find_spec("sentence_transformers") is None:
        return False
    if not (work / "peer").exists():
        facts = {"peer": str(work / "peer"), "vocabulary": str(work / "bundle" / "tokenizer.json")}
        (work / "peer").mkdir()
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(MAKE_PEER).format(**facts)], check=False)
        if done.returncode:
            shutil.rmtree(work / "peer")
            return False
    return True


def draw(photos: Path, folder: Path, size: tuple[int, int], count: int) -> None:
    """Photos of one size, as a camera would store them."""
    if folder.exists():
        return
    folder.mkdir()
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for number in range(count):
        if paths:
            image = Image.open(paths[number * len(paths) // count % len(paths)]).convert("RGB")
        else:
            image = Image.fromarray(np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8))
        image = image.rotate(number % 7).resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{number:04}.jpg", quality=88)


class Worker:
    """A case, loaded and waiting for its turn."""

    def __init__(self, case: Case, photos: Path, work: Path) -> None:
        self.case = case
        code = textwrap.dedent(COMMON) + textwrap.dedent(case.code)
        environment = {**os.environ, "CLIPCLI_CACHE_DIR": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", code.format(photos=str(photos), **case.settings)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self._say()

    def turn(self) -> Figure:
        """What one turn took."""
        return Figure(*map(float, self._say("go").split()))

    def close(self) -> None:
        """Let it end."""
        self._process.communicate("stop\n")

    def _say(self, word: str | None = None) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a worker has pipes")
        if word:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{self.case.name}: failed")
        return answer


def measure(found: Sequence[Case], photos: Path, work: Path, rounds: int) -> dict[str, list[Figure]]:
    """Figures of all cases, taken in turns."""
    workers = [Worker(case, photos, work) for case in found]
    figures: dict[str, list[Figure]] = {case.name: [] for case in found}
    for number in range(rounds + 1):
        for worker in workers:
            figure = worker.turn()
            if number:  # the first turn fills caches
                figures[worker.case.name].append(figure)
        print(f"{photos.name}: round {number} of {rounds}", file=sys.stderr, flush=True)
    for worker in workers:
        worker.close()
    return figures


def table(size: str, count: int, figures: dict[str, list[Figure]]) -> str:
    """The figures of one size, in Markdown."""
    rates = {name: statistics.median(one.images_a_second for one in got) for name, got in figures.items()}
    cores = {name: statistics.median(one.core_milliseconds for one in got) for name, got in figures.items()}
    rows = [f"## {count} photos of {size}\n", "| case | images/s | of the loop's | core-ms an image | of the loop's |"]
    rows.append("|---|---|---|---|---|")
    for name in figures:
        speed, work = rates[name] / rates[PLAIN], cores[name] / cores[PLAIN]
        rows.append(f"| {name} | {rates[name]:.1f} | {speed:.2f} | {cores[name]:.1f} | {work:.2f} |")
    for ours, model in (("clipcli, fp32", "fp32"), ("clipcli, --precision bf16", "bf16")):
        # Both steps use every core, so that the bound of doing both is the sum of their times.
        bound = 1 / (1 / rates["bound: decoding alone"] + 1 / rates[f"bound: model alone, {model}"])
        share = rates[ours] / bound
        rows.append(f"\n{ours}: {share:.2f} of the bound that the cores set, {bound:.1f} images/s")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Prepare, measure in turns, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=32, help="photos of each size a turn")
    parser.add_argument("--photos", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "photos")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    counts = dict.fromkeys(SIZES, arguments.count)
    with tempfile.TemporaryDirectory(prefix="bench-embed-") as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        peer = prepare(work, arguments.photos, counts)
        where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        parts = [f"# From files to vectors\n\n`python benchmarks/bench_embed.py`: {where}, {arguments.rounds} rounds\n"]
        figures = {}
        for size in SIZES:
            figures[size] = measure(cases(work, peer), work / size.replace(" ", ""), work, arguments.rounds)
            parts.append(table(size, counts[size], figures[size]))
        text = "\n".join(parts)
        print(text)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "embed.md").write_text(text, encoding="utf-8")
        plain = {
            size: {name: [asdict(one) for one in got] for name, got in found.items()} for size, found in figures.items()
        }
        (RESULTS / "embed.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
