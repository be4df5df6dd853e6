"""Both errors of `dedupe`: copies that it misses, by kind of edit, and different pictures that it takes for copies.

    python benchmarks/bench_copies.py [--photos N] [--python PYTHON] [--imagededup OTHER]
                                      [-o benchmarks/results/copies.json]

Makes a folder of photos of `../shared`, edits of some of them, and families of templates; runs `clipcli dedupe` over
it, and the hashes of imagehash and of imagededup where PYTHON and OTHER have them. Each edit is compared alone with its
original too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dedupe_pictures import CHANGES, EDITS, EITHER, TEMPLATES, family
from PIL import Image, ImageOps

from clipcli.core.devices import single_threaded_blas
from clipcli.images.colour_modes import ON_WHITE, Rendering
from clipcli.images.decoder import decode
from clipcli.images.thumbnails import COMPARED, glance, laid_on
from clipcli.tasks.dedupe.detail import measure
from clipcli.tasks.dedupe.keep import FileFacts, parse_rules, rank
from clipcli.tasks.dedupe.likeness import compare, sign
from clipcli.tasks.dedupe.originals import detail_losses, distances_from_typical
from clipcli.tasks.dedupe.sheets import is_coloured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.tasks.dedupe.detail import Detail
    from clipcli.tasks.dedupe.likeness import Signature

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
COPIES = ("exact", "near")
KINDS = {
    "resized to 25–200 %": ("resize25", "resize50", "resize75", "resize150", "resize200", "square", "half+q30"),
    "JPEG q10–q95": ("q10", "q20", "q30", "q50", "q75", "q95"),
    "cropped by up to 10 % a side": ("crop3", "crop6", "crop10", "corner5", "corner10", "side10", "crop6+q50+bright"),
    "borders of 2–12 %": ("border2", "border5", "border12"),
    "screenshot of a phone": ("screen",),
    "grey": ("grey",),
    "brightness 60–180 %": ("bright60", "bright80", "bright130", "bright180"),
    "contrast, saturation, white balance": ("contrast", "saturated", "warm"),
    "sharpened, blurred, grain, palette": ("sharp", "blur", "noise", "palette"),
    "turned by 1° and 3°": ("turn1", "turn3"),
}
"""How edits stand in the table."""
HASHES = """
import json, os, sys
from pathlib import Path
import numpy as np
from PIL import Image
import imagehash
started = sum(os.times()[:4])
method = getattr(imagehash, sys.argv[2])
names = sorted(path.name for path in Path(sys.argv[1]).iterdir())
bits = np.stack([method(Image.open(Path(sys.argv[1]) / name)).hash.ravel() for name in names])
pairs = []
for row in range(len(names)):
    near = np.flatnonzero((bits[row + 1 :] != bits[row]).sum(axis=1) <= int(sys.argv[3]))
    pairs += [(names[row], names[row + 1 + other]) for other in near.tolist()]
print(json.dumps({"seconds": sum(os.times()[:4]) - started, "pairs": pairs}))
"""
IMAGEDEDUP = """
import json, os, sys
from imagededup import methods
method = getattr(methods, sys.argv[2])(verbose=False)
started = sum(os.times()[:4])
hashes = method.encode_images(image_dir=sys.argv[1], num_enc_workers=0)
found = method.find_duplicates(encoding_map=hashes, max_distance_threshold=int(sys.argv[3]), num_dist_workers=0)
pairs = sorted({tuple(sorted((name, other))) for name, others in found.items() for other in others})
print(json.dumps({"seconds": sum(os.times()[:4]) - started, "pairs": pairs}))
"""
Pairs = set[tuple[str, str]]
Figures = dict[str, Any]


def make(folder: Path, photos: int) -> None:
    """Photos (some with all edits), and families; names are KIND~PICTURE~EDIT."""
    every = sorted(SHARED.glob("data/photos/*/*/*"))
    edited = set(every[:: max(1, len(every) // photos)][:photos])
    for number, path in enumerate(every):
        (folder / f"photo~{number:03d}~original.jpg").write_bytes(path.read_bytes())
        if path in edited:
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            for name, edit in {**EDITS, **CHANGES, **EITHER}.items():
                edit(image).save(folder / f"photo~{number:03d}~{name}.jpg", quality=92)
    for kind in TEMPLATES:
        for seed in (21, 22):
            for number, image in enumerate(family(kind, seed, 4)):
                image.save(folder / f"{kind}~{seed}~{number}.png")


def picture_of(name: str) -> str:
    """Return what a file shows: its photo, or where it was changed in one place, itself."""
    kind, number, edit = name.rpartition(".")[0].split("~")
    return f"{kind}~{number}" if kind == "photo" and edit not in CHANGES else name


def dedupe(folder: Path, *more: str) -> tuple[list[Figures], float]:
    """Rows of `clipcli dedupe`, and seconds of the processor."""
    command = [sys.executable, "-m", "clipcli", "dedupe", str(folder), "-f", "jsonl", "-q", *more]
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
    return [json.loads(line) for line in done.stdout.splitlines()], seconds


def levels(rows: list[Figures]) -> dict[str, tuple[str, str]]:
    """File → its level, and the file that is kept."""
    return {Path(row["image"]).name: (row["level"], Path(row["keeper"]).name) for row in rows if "error" not in row}


def by_edit(found: dict[str, tuple[str, str]], names: list[str]) -> dict[str, Counter[str]]:
    """Edit → how many of its files are of each level with a file of the same photo."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    keepers = {keeper: level for name, (level, keeper) in found.items() if level in COPIES and name != keeper}
    for name in names:
        kind, number, edit = name.rpartition(".")[0].split("~")
        if kind != "photo" or edit == "original":
            continue
        level, keeper = found.get(name, ("lost", name))
        level = keepers.get(name, level)  # whose group may be part of another
        counts[edit][level if keeper.startswith(f"photo~{number}~") else "lost"] += 1
    return counts


def wrong(pairs: Pairs) -> Counter[str]:
    """Kind → pairs of different pictures that were taken for copies."""
    kinds: Counter[str] = Counter()
    for one, other in pairs:
        if picture_of(one) != picture_of(other):
            edits = [name.rpartition(".")[0].rpartition("~")[2] for name in (one, other)]
            same_photo = one.split("~")[:2] == other.split("~")[:2]
            change = next((edit for edit in edits if edit in CHANGES), "")
            kinds[change if same_photo and change else one.partition("~")[0]] += 1
    return kinds


def signature(path: Path) -> Signature:
    """What `dedupe` compares of a file."""
    seen = glance(path.read_bytes(), rendering=Rendering(bare=True), least=COMPARED)
    return sign(laid_on(seen.pictures[0], ON_WHITE), pixels=(seen.height, seen.width))


def in_twos(folder: Path, names: list[str], found: dict[str, tuple[str, str]]) -> Figures:
    """Each edit alone with its original; and how many files of the folder have another verdict alone with their keeper.

    The folder's verdict on a file is the one on it and its keeper.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    signatures = {name: signature(folder / name) for name in names if name in found}
    digests = {name: hashlib.sha256((folder / name).read_bytes()).digest() for name in signatures}

    def verdict(one: str, other: str) -> str:
        first, second = sorted((one, other), key=digests.__getitem__)
        return compare(signatures[first], signatures[second]).verdict

    differ = compared = 0
    for name in names:
        if name not in signatures:
            continue
        kind, number, edit = name.rpartition(".")[0].split("~")
        original = f"photo~{number}~original.jpg"
        if kind == "photo" and edit != "original" and original in signatures:
            counts[edit][verdict(original, name)] += 1
        level, keeper = found.get(name, ("", name))
        if level in {"near", "edited"} and keeper in signatures and keeper != name:
            compared += 1
            differ += verdict(keeper, name) != level
    return {"edits": {edit: dict(count) for edit, count in counts.items()}, "files": compared, "differ": differ}


def facts_of(path: Path) -> tuple[FileFacts, Detail]:
    """Return what the rules of `--keep` and the comparison of detail know of a file."""
    data = path.read_bytes()
    seen = glance(data, rendering=Rendering(bare=True), least=COMPARED)
    picture = laid_on(seen.pictures[0], ON_WHITE)
    sheet = sign(picture, pixels=(seen.height, seen.width)).sheet
    header = Image.open(path)
    detail = measure(laid_on(decode(data), ON_WHITE), sheet, header.quantization[0])  # type: ignore[attr-defined]
    pixels, coloured = seen.height * seen.width, is_coloured(picture)
    return FileFacts(str(path), pixels, len(data), 0, seen.format, coloured=coloured), detail


def kept_of(copies: Sequence[tuple[FileFacts, Detail]]) -> int:
    """Return the number of the one that stays of a group of copies, by the default rules."""
    details = [detail for _, detail in copies]
    losses = detail_losses(details)
    typical = distances_from_typical(details, losses)
    files = [replace(facts, detail_loss=losses[n], atypical=typical[n]) for n, (facts, _) in enumerate(copies)]
    return rank(files, parse_rules(None))[0]


def originals_kept(folder: Path, names: list[str]) -> Figures:
    """How often an original stays beside each of its edits alone, and in groups of them."""
    photos = sorted({name.rpartition("~")[0] for name in names if "~grey." in name})
    edits = [*EDITS, *EITHER]
    alone: Counter[str] = Counter()
    groups: dict[str, Counter[str]] = {"2": Counter(), "4": Counter(), "8": Counter(), "all": Counter()}
    for number, photo in enumerate(photos):
        copies = {edit: facts_of(folder / f"{photo}~{edit}.jpg") for edit in ("original", *edits)}
        generator = np.random.default_rng(number)
        alone.update(edit for edit in edits if kept_of([copies[edit], copies["original"]]) == 1)
        for size, counts in groups.items():
            for _ in range(1 if size == "all" else 20):
                some = edits if size == "all" else generator.choice(edits, int(size), replace=False).tolist()
                which = kept_of([copies["original"], *(copies[edit] for edit in some)])
                counts["original" if not which else some[which - 1]] += 1
    return {
        "photos": len(photos), "alone": {edit: alone[edit] for edit in edits},
        "groups": {size: dict(counts.most_common()) for size, counts in groups.items()},
    }  # fmt: skip


def in_place_of_originals(rows: list[Figures], names: list[str]) -> dict[str, int]:
    """Edit → how many originals of edited photos would go for it; `original` → how many stay."""
    edited = {name.rpartition("~")[0] for name in names if "~grey." in name}
    counts: Counter[str] = Counter()
    for row in rows:
        photo, _, edit = Path(row["image"]).stem.rpartition("~")
        if photo in edited and edit == "original":
            counts[edit if row["keep"] else Path(row["keeper"]).stem.rpartition("~")[2]] += 1
    return dict(counts.most_common())


def of_clipcli(folder: Path, names: list[str]) -> Figures:
    """Both errors in the whole folder, and in twos."""
    rows, seconds = dedupe(folder, "--level", "edited")
    _, again = dedupe(folder, "--level", "edited")
    found = levels(rows)
    gone = {(name, keeper) for name, (level, keeper) in found.items() if level in COPIES and name != keeper}
    edits = {edit: dict(counts) for edit, counts in by_edit(found, names).items()}
    with single_threaded_blas():
        alone = in_twos(folder, names, found)
        kept = originals_kept(folder, names)
    return {
        "seconds": round(seconds, 1), "seconds_again": round(again, 1), "would_go": len(gone), "wrong": wrong(gone),
        "edits": edits, "in_twos": alone, "kept": kept,
        "in_place_of_originals": in_place_of_originals(rows, names),
    }  # fmt: skip


def of_hashes(  # noqa: PLR0917 - a script's arguments
    folder: Path, names: list[str], python: str, method: str, distance: int, script: str = HASHES
) -> Figures:
    """Pairs within a distance: recall beside the original, and pairs of different pictures."""
    command = [python, "-c", script, str(folder), method, str(distance)]
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    pairs = {(one, other) for one, other in done["pairs"]}
    both = pairs | {(other, one) for one, other in pairs}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        kind, number, edit = name.rpartition(".")[0].split("~")
        if kind == "photo" and edit != "original":
            counts[edit]["near" if (name, f"photo~{number}~original.jpg") in both else "lost"] += 1
    edits = {edit: dict(count) for edit, count in counts.items()}
    return {"seconds": round(done["seconds"], 1), "edits": edits, "wrong": wrong(pairs)}


def share(edits: dict[str, dict[str, int]], which: Sequence[str], good: Sequence[str] = COPIES) -> str:
    """Return the share of files of some edits that are of good levels, in percent."""
    counts = sum((Counter(edits.get(edit, {})) for edit in which), Counter[str]())
    return f"{100 * sum(counts[level] for level in good) / max(1, counts.total()):.1f}"


def kept_page(kept: Figures) -> list[str]:
    """The part of the page that says how often an original stays."""
    photos, alone = kept["photos"], kept["alone"]
    lines = ["", "## Originals that stay", "", "Beside one edit, % of the photos:", "", "| edit | stays |", "|---|---|"]
    for kind, which in {**KINDS, "watermark": tuple(EITHER), "all of these": tuple(alone)}.items():
        lines.append(f"| {kind} | {100 * sum(alone[edit] for edit in which) / (photos * len(which)):.1f} |")
    never = ", ".join(f"{edit} ({count})" for edit, count in alone.items() if count < photos)
    lines += ["", f"All {photos} stay, but for: {never or 'none'}.", ""]
    lines += ["Among several edits drawn at random:", "", "| edits | stays, % | instead |", "|---|---|---|"]
    for size, counts in kept["groups"].items():
        share = 100 * counts.get("original", 0) / sum(counts.values())
        others = ", ".join(f"{edit} {count}" for edit, count in counts.items() if edit != "original")
        lines.append(f"| {size} | {share:.1f} | {others} |")
    return [*lines, ""]


def page(figures: Figures) -> str:
    """The figures as a page."""
    ours, hashes = figures["clipcli"], figures["hashes"]
    ways = {"in twos": ours["in_twos"], "in one folder": ours, **hashes}
    edits = len(EDITS) + len(CHANGES) + len(EITHER)
    lines = [
        "# Copies and what is none", "", f"{figures['conditions']}. Written by `benchmarks/bench_copies.py`.", "",
        f"{figures['files']:,} files: {figures['edited']} photos with {edits} edits each, {figures['others']} others,",
        f"{len(TEMPLATES)} kinds of templates. No model has a say in these levels.", "",
        "## Copies that are found, %", "", "| edit | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|",
    ]  # fmt: skip
    for kind, which in {**KINDS, "all of these": tuple(EDITS)}.items():
        lines.append(f"| {kind} | " + " | ".join(share(way["edits"], which) for way in ways.values()) + " |")
    either = [share(way["edits"], tuple(EITHER), ("exact", "near", "edited")) for way in ways.values()]
    lines.append("| watermark (*near* or *edited*) | " + " | ".join(either) + " |")
    lines += [
        "", "For clipcli a copy is found when it is *exact* or *near*; in one folder, beside the keeper of its group.",
        "A hash finds it within the distance from its original.", "",
        "Pairs below are, for clipcli, a file that would go and its keeper, and for hashes any two files.", "",
        "## Different pictures that were taken for copies, pairs", "",
    ]  # fmt: skip
    wrongs = {"clipcli": ours, **hashes}
    kinds = sorted({kind for way in wrongs.values() for kind in way["wrong"]})
    lines += ["| kind | " + " | ".join(wrongs) + " |", "|---" * (len(wrongs) + 1) + "|"]
    for kind in [*kinds, "all"]:
        values = [sum(way["wrong"].values()) if kind == "all" else way["wrong"].get(kind, 0) for way in wrongs.values()]
        lines.append(f"| {kind} | " + " | ".join(map(str, values)) + " |")
    lines += [
        *kept_page(ours["kept"]),
        "In one folder with all others: "
        + ", ".join(f"{edit} {count}" for edit, count in ours["in_place_of_originals"].items()) + ".",
        "", f"{ours['would_go']:,} files would go. Of {ours['in_twos']['files']:,} files {ours['in_twos']['differ']}",
        "had another verdict alone with their keeper.", "",
        "## Seconds of the processor", "", "| way | seconds |", "|---|---|",
        f"| clipcli | {ours['seconds']} |", f"| clipcli, a second time | {ours['seconds_again']} |",
        *(f"| {name} | {way['seconds']} |" for name, way in hashes.items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=40, help="photos that are edited")
    parser.add_argument("--python", help="the Python of an environment that has imagehash")
    parser.add_argument("--imagededup", metavar="OTHER", help="the Python of an environment that has imagededup")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures; a page is written next to it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        os.environ["CLIPCLI_CACHE_DIR"] = str(Path(base) / "cache")
        folder = Path(base).resolve() / "files"
        folder.mkdir()
        make(folder, asked.photos)
        names = sorted(path.name for path in folder.iterdir())
        edited = sum("~grey" in name for name in names)
        others = sum("~original" in name for name in names) - edited
        cores = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        figures: Figures = {"conditions": cores, "files": len(names), "edited": edited, "others": others, "hashes": {}}
        if asked.python:
            for method, distance in (("phash", 10), ("dhash", 10)):
                name = f"imagehash {method}, {distance} bits"
                figures["hashes"][name] = of_hashes(folder, names, asked.python, method, distance)
        for method in ("PHash", "DHash", "AHash", "WHash") if asked.imagededup else ():
            try:
                found = of_hashes(folder, names, asked.imagededup, method, 10, IMAGEDEDUP)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"imagededup is left out: {error}", file=sys.stderr)
                break
            figures["hashes"][f"imagededup {method}, 10 bits"] = found
        figures["clipcli"] = of_clipcli(folder, names)
    if asked.output:
        asked.output.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
        asked.output.with_suffix(".md").write_text(page(figures), "utf-8")
    print(page(figures))


if __name__ == "__main__":
    main()
