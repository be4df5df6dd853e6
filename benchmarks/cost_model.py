"""What 10^6, 10^8 and 10^10 images take, from the figures that other benchmarks left in results/*.json.

    python benchmarks/cost_model.py [--photo-kilobytes 500] [--dim 512] [--gigabits 10]

Cores, network and storage follow from measured rates by division; no price is in it, since prices change. Prints the
tables of docs/advanced/scale.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
IMAGES = (10**6, 10**8, 10**10)
PHOTOS, CORES = 500, 2
"""Of bench_classify.py."""
PQ_BYTES = 40
"""Codes of 32 bytes and a number of 8."""
UNITS = ((86400 * 365, "years"), (86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
SIZES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


@dataclass(frozen=True)
class Rates:
    """Measured, of ViT-B-32 on photos of 0.3 to 3 megapixels."""

    fp32: float
    """Images a second and core, files to vectors, through ONNX Runtime."""
    bf16: float
    """The same through torch in bfloat16."""
    decoding: float
    """Images a second and core, decoded and preprocessed alone."""
    scan: float
    """Vectors a second of an exact search."""

    @classmethod
    def measured(cls) -> Rates:
        """From results/classify.json and results/rank.json."""
        cases = json.loads((RESULTS / "classify.json").read_text("utf-8"))["cases"]
        rank = json.loads((RESULTS / "rank.json").read_text("utf-8"))
        bf16 = "clipcli, torch (bf16 where it is faster)"
        return cls(
            PHOTOS / cases["clipcli, onnx"][0] / CORES,
            PHOTOS / cases[bf16][0] / CORES,
            PHOTOS / cases["pure decoding, one thread"][0],
            rank["rows"] / rank["one query"]["search_s"],
        )


def amount(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Two digits and a unit."""
    size, name = next(((size, name) for size, name in units if value >= size), units[-1])
    shown = value / size
    return f"{shown:,.0f} {name}" if shown >= 10 else f"{shown:.2g} {name}"


def rows(rates: Rates, photo: float, dim: int, gigabits: float) -> list[tuple[str, list[str]]]:
    """Each line of the table: what, and the amounts."""
    link = gigabits * 1e9 / 8

    def time(seconds: float) -> list[str]:
        return [amount(seconds * images / 1e6, UNITS) for images in IMAGES]

    def size(bytes_an_image: float) -> list[str]:
        return [amount(bytes_an_image * images, SIZES) for images in IMAGES]

    def core_hours(rate: float) -> list[str]:
        return [f"{images / rate / 3600:,.0f}" for images in IMAGES]

    return [
        ("core-hours, fp32", core_hours(rates.fp32)),
        ("core-hours, bf16", core_hours(rates.bf16)),
        ("core-hours of decoding alone (what a GPU leaves to the cores)", core_hours(rates.decoding)),
        ("photos, read once", size(photo)),
        (f"the same over {gigabits:g} Gbit/s", time(1e6 * photo / link)),
        ("vectors, float32", size(4 * dim)),
        ("vectors, float16", size(2 * dim)),
        (f"codes of {PQ_BYTES - 8} bytes with a number (IVF-PQ)", size(PQ_BYTES)),
        ("one exact query in memory, two cores", time(1e6 / rates.scan)),
    ]


def main() -> None:
    """Print the rates and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photo-kilobytes", type=float, default=500)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--gigabits", type=float, default=10)
    arguments = parser.parse_args()
    rates = Rates.measured()
    print(
        f"images a second and core: {rates.fp32:.1f} in fp32, {rates.bf16:.1f} in bf16, {rates.decoding:.0f} decoded\n"
    )
    print("| | 10⁶ | 10⁸ | 10¹⁰ |\n| --- | --: | --: | --: |")
    for name, amounts in rows(rates, 1000 * arguments.photo_kilobytes, arguments.dim, arguments.gigabits):
        print(f"| {name} | {' | '.join(amounts)} |")


if __name__ == "__main__":
    main()
