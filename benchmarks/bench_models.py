"""How fast the models behind the aliases are here, by `clipcli models bench`: start, images and texts a second, memory.

    python benchmarks/bench_models.py [--seconds 20] [--architectures ViT-B-32-256 ViT-L-14]

Weights are random, since speed and memory do not depend on their values, and so nothing is fetched; `best` is left out,
whose tokenizer is a download. Every architecture runs through torch, and as the bundle that clipcli makes of it. Photos
are of 640 × 480 pixels. Prints a table and writes results/models.json and results/models.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from clipcli.models.catalogue import ALIASES

RESULTS = Path(__file__).parent / "results"
_SAVE = """
import open_clip, torch
torch.manual_seed(0)
torch.save(open_clip.create_model({architecture!r}).state_dict(), {path!r})
"""


def clipcli(*arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "clipcli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def rows_of(architecture: str, folder: Path, seconds: str) -> list[dict[str, Any]]:
    """One through torch, one of the bundle. Making the weights in a process of its own leaves this one small."""
    checkpoint, bundle = folder / f"{architecture}.pt", folder / architecture
    subprocess.run([sys.executable, "-c", _SAVE.format(architecture=architecture, path=str(checkpoint))], check=True)
    spec = f"{architecture}@{checkpoint}"
    clipcli("models", "export", spec, "-o", str(bundle), "--name", architecture, "--quiet")
    ways = ((spec, "openclip"), (str(bundle), "onnx"))
    found = [bench(model, engine, seconds) for model, engine in ways]
    checkpoint.unlink()
    return [{**row, "model": architecture} for row in found]


def bench(model: str, engine: str, seconds: str) -> dict[str, Any]:
    """The row of one model."""
    row: dict[str, Any] = json.loads(
        clipcli("models", "bench", model, "--engine", engine, "--seconds", seconds, "--format", "jsonl")
    )
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; the alias stands with its architecture."""
    names = {alias.model.partition("/")[0]: alias.name for alias in ALIASES}
    lines = [
        "| alias | architecture | where | ready | images/s | texts/s | memory |",
        "| --- " * 3 + "| --: " * 4 + "|",
    ]
    for row in rows:
        model = row["model"]
        figures = (f"{row['load_seconds']:.1f} s", f"{row['images_per_second']:.1f}", f"{row['texts_per_second']:.0f}")
        cells = (names.get(model, ""), model, row["where"], *figures, f"{row['peak_megabytes']} MB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", default="20", help="how long images, and texts, are embedded")
    parser.add_argument("--architectures", nargs="*", default=["ViT-B-32-256", "ViT-L-14"])
    asked = parser.parse_args()
    rows = [bench("tiny", "onnx", asked.seconds)]
    with tempfile.TemporaryDirectory(prefix="bench-models-") as folder:
        for architecture in asked.architectures:
            rows += rows_of(architecture, Path(folder), asked.seconds)
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, random weights"
    text = f"{where}\n\n{table(rows)}\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "models.json").write_text(json.dumps({"machine": where, "models": rows}, indent=1) + "\n")
    (RESULTS / "models.md").write_text(f"# Models, from file to vector\n\n`python benchmarks/bench_models.py`: {text}")


if __name__ == "__main__":
    main()
