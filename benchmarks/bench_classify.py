"""Throughput of `classify` on photos, and of prompt ensembles, against what users write with open_clip today.

    python benchmarks/bench_classify.py [--photos 500] [--labels 200]

ViT-B-32 with random weights; time does not depend on their values. The photos are drawn: noise at several scales, 0.3
to 3 megapixels, stored as JPEG. Scripts and clipcli take turns in processes of their own, and print the seconds from
the first image to the last answer, the model loaded before: start-up has its own benchmark. The bound is what the cores
allow: pure forward time of the same engine, plus pure decoding and preprocessing time spread over all cores.
Prints a table and writes results/classify.json and results/classify.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SIZES = ((640, 480), (1024, 768), (1400, 1050), (2000, 1500))

SCRIPT = """
    import sys, time, resource
    from pathlib import Path
    import open_clip, torch
    from PIL import Image

    batch_size = {batch}
    model, _, transform = open_clip.create_model_and_transforms("local-dir:{model}")
    model.eval()
    tokenizer = open_clip.get_tokenizer("local-dir:{model}")
    paths = sorted(Path({photos!r}).iterdir())
    began = time.perf_counter()
    with torch.no_grad():
        prompts = tokenizer([f"a photo of a {{label}}." for label in ("cat", "dog", "car")])
        texts = model.encode_text(prompts, normalize=True)
        for start in range(0, len(paths), batch_size):
            some = paths[start : start + batch_size]
            pixels = torch.stack([transform(Image.open(path).convert("RGB")) for path in some])
            images = model.encode_image(pixels, normalize=True)
            (100 * images @ texts.T).softmax(dim=-1).tolist()
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

CLIPCLI = """
    import resource, time
    from clipcli.inputs.collect import collect
    from clipcli.models.spec import Choice
    from clipcli.prompts import Label, load_prompts
    from clipcli.session.session import open_session
    from clipcli.session.prepare import SessionOptions
    from clipcli.core.console import Console
    from clipcli.tasks.classify import Classifier

    names = ("cat", "dog", "car")
    choice, options = Choice({model!r}, engine={engine!r}), SessionOptions(use_cache=False)
    with open_session(choice, Console(), options, expected_images={count}) as session:
        session.model.encoder
        began = time.perf_counter()
        texts = session.embed_labels([Label(name, (name,)) for name in names], load_prompts(["photo-one"]))
        head = Classifier(names, texts, session.scoring, session.scoring.activation)
        for embedded in session.embed_images(collect([{photos!r}])):
            head.classify(embedded.vector)
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

FORWARD = """
    import time
    import numpy as np
    from clipcli.models.spec import Choice
    from clipcli.models.model import Model
    from clipcli.core.console import Console

    encoder = Model(Choice({model!r}, engine={engine!r}), Console(), {count}).encoder
    pixels = np.random.default_rng(0).standard_normal((16, 3, 224, 224), dtype=np.float32)
    encoder.encode_images(pixels)
    began = time.perf_counter()
    for _ in range({count} // 16):
        encoder.encode_images(pixels)
    print((time.perf_counter() - began) * {count} / ({count} // 16 * 16), 0)
"""

DECODE = """
    import time
    from pathlib import Path
    from clipcli.core.encoder import Preprocessing
    from clipcli.images import decode, read
    from clipcli.images.preprocess import to_pixels

    how = Preprocessing((224, 224), (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    paths = sorted(Path({photos!r}).iterdir())
    began = time.thread_time()
    for path in paths:
        to_pixels(decode(read(str(path))), how)
    print(time.thread_time() - began, 0)
"""

ENSEMBLE_SCRIPT = """
    import time
    import open_clip, torch

    model = open_clip.create_model("local-dir:{model}").eval()
    tokenizer = open_clip.get_tokenizer("local-dir:{model}")
    began = time.perf_counter()
    open_clip.build_zero_shot_classifier(
        model, tokenizer, open_clip.IMAGENET_CLASSNAMES[:{labels}], open_clip.OPENAI_IMAGENET_TEMPLATES
    )
    print(time.perf_counter() - began, 0)
"""

ENSEMBLE_CLIPCLI = """
    import time
    from clipcli.models.spec import Choice
    from clipcli.prompts import load_prompts, parse_labels
    from clipcli.session.session import open_session
    from clipcli.session.prepare import SessionOptions
    from clipcli.core.console import Console

    labels = parse_labels(["@imagenet"], [])[:{labels}]
    prompts = load_prompts(["imagenet"])
    with open_session(Choice({model!r}, engine={engine!r}), Console(), SessionOptions(use_cache=False)) as session:
        session.model.encoder
        began = time.perf_counter()
        session.embed_labels(labels, prompts)
    print(time.perf_counter() - began, 0)
"""


def draw_photos(folder: Path, count: int) -> None:
    """JPEGs with detail at several scales, as photos have."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    for index in range(count):
        width, height = SIZES[index % len(SIZES)]
        image = Image.new("RGB", (width, height), "grey")
        for cells in (6, 40, 200):
            layer = rng.integers(0, 255, (cells * 3 // 4, cells, 3), dtype=np.uint8)
            image = Image.blend(image, Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC), 0.5)
        image.save(folder / f"{index:04}.jpg", quality=88)


def save_model(folder: Path) -> None:
    """ViT-B-32 with random weights as an OpenCLIP folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


def measure(code: str, facts: dict[str, object]) -> tuple[float, float]:
    """Seconds and peak megabytes that a process prints of itself."""
    script = textwrap.dedent(code).format(**facts)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), float(kilobytes) / 1000


def main() -> None:
    """Measure in turns, print and keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    os.environ |= {"CLIPCLI_CACHE_DIR": str(work / "cache"), "HF_HUB_OFFLINE": "1", "CLIPCLI_AUTO_EXPORT": "0"}
    (work / "photos").mkdir()
    (work / "model").mkdir()
    draw_photos(work / "photos", asked.photos)
    save_model(work / "model")
    spec = f"local-dir:{work / 'model'}"
    subprocess.run([sys.executable, "-m", "clipcli", "models", "export", spec, "-q"], check=True)
    facts = {"photos": str(work / "photos"), "count": asked.photos, "labels": asked.labels}
    script, ours = {**facts, "model": str(work / "model")}, {**facts, "model": spec}
    cases = {
        "open_clip script, batch 1": (SCRIPT, {**script, "batch": 1}),
        "open_clip script, batch 32": (SCRIPT, {**script, "batch": 32}),
        "clipcli, torch (bf16 where it is faster)": (CLIPCLI, {**ours, "engine": "openclip"}),
        "clipcli, onnx": (CLIPCLI, {**ours, "engine": "onnx"}),
        "pure forward, torch (same precision)": (FORWARD, {**ours, "engine": "openclip"}),
        "pure forward, onnx": (FORWARD, {**ours, "engine": "onnx"}),
        "pure decoding, one thread": (DECODE, facts),
        "build_zero_shot_classifier": (ENSEMBLE_SCRIPT, script),
        "clipcli ensembles, torch": (ENSEMBLE_CLIPCLI, {**ours, "engine": "openclip"}),
        "clipcli ensembles, onnx": (ENSEMBLE_CLIPCLI, {**ours, "engine": "onnx"}),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(asked.rounds):
        for name, (code, known) in cases.items():
            taken[name].append(measure(code, known))
    report(
        asked, {name: (statistics.median(s for s, _ in runs), max(m for _, m in runs)) for name, runs in taken.items()}
    )


def report(asked: argparse.Namespace, found: dict[str, tuple[float, float]]) -> None:
    """The table, and the ratios that the project holds itself to."""
    cores = os.cpu_count() or 1
    seconds = {name: value for name, (value, _) in found.items()}
    decode = seconds["pure decoding, one thread"] / cores
    ratios = {
        "torch engine against its bound": (seconds["pure forward, torch (same precision)"] + decode)
        / seconds["clipcli, torch (bf16 where it is faster)"],
        "onnx engine against its bound": (seconds["pure forward, onnx"] + decode) / seconds["clipcli, onnx"],
        "faster than the script, batch 1 (onnx)": seconds["open_clip script, batch 1"] / seconds["clipcli, onnx"],
        "faster than the script, batch 32 (onnx)": seconds["open_clip script, batch 32"] / seconds["clipcli, onnx"],
        "faster than the script, batch 32 (torch)": seconds["open_clip script, batch 32"]
        / seconds["clipcli, torch (bf16 where it is faster)"],
        "ensembles against build_zero_shot_classifier (torch)": seconds["build_zero_shot_classifier"]
        / seconds["clipcli ensembles, torch"],
        "ensembles against build_zero_shot_classifier (onnx)": seconds["build_zero_shot_classifier"]
        / seconds["clipcli ensembles, onnx"],
        "peak memory against the script, batch 32 (torch)": found["clipcli, torch (bf16 where it is faster)"][1]
        / found["open_clip script, batch 32"][1],
        "peak memory against the script, batch 32 (onnx)": found["clipcli, onnx"][1]
        / found["open_clip script, batch 32"][1],
    }
    lines = [
        f"{asked.photos} photos of 0.3 to 3 megapixels, ViT-B-32, {cores} cores, {platform.machine()}",
        "",
        "| case | seconds | images/s | peak MB |",
        "| --- | --: | --: | --: |",
    ]
    for name, (value, peak) in found.items():
        per_second = "" if "nsemble" in name or "zero_shot" in name else f"{asked.photos / value:.1f}"
        lines.append(f"| {name} | {value:.1f} | {per_second} | {f'{peak:.0f}' if peak else ''} |")
    lines += ["", "| ratio | |", "| --- | --: |", *(f"| {name} | {value:.2f} |" for name, value in ratios.items()), ""]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "classify.md").write_text("\n".join(lines), encoding="utf-8")
    (RESULTS / "classify.json").write_text(
        json.dumps({"cases": found, "ratios": ratios}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
