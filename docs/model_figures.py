"""Write what is known of OpenCLIP's models without a download: models/published.csv and engines/openclip_zoo.json.

The second is open_clip's lists of architectures and weights, for installations without it (`--zoo` writes it alone).
`python docs/model_figures.py` counts parameters and GFLOPs of every architecture on torch's meta device, where weights
take no memory. Published accuracies and licences stand in the file itself and are kept; a row that is new in open_clip
has them blank until somebody fills them in, with the source. Architectures whose text tower's sizes stand in another
repository (RoBERTa, XLM-RoBERTa, nllb) keep the counts that are there, unless that repository's config is in the hub's
cache.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "clipcli" / "models" / "published.csv"
COLUMNS = (
    "name", "pretrained", "params_millions", "gflops", "imagenet_top1", "average_38_datasets", "source", "licence",
)  # fmt: skip


def counted(architecture: str) -> tuple[float, float] | None:
    """Parameters in millions, and GFLOPs of one image and one text; None where a text tower's sizes are not here."""
    import open_clip
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    config = open_clip.get_model_config(architecture)
    if config["text_cfg"].get("hf_model_name"):
        return None
    with torch.device("meta"), torch.no_grad():
        model = _build(architecture).eval().requires_grad_(requires_grad=False)
        size = model.visual.image_size
        height, width = (size, size) if isinstance(size, int) else size
        text = torch.ones(1, config["text_cfg"].get("context_length", 77), dtype=torch.int64)
        with FlopCounterMode(display=False) as flops:
            model.encode_image(torch.empty(1, 3, height, width))
            model.encode_text(text)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return round(parameters / 1e6, 2), round(flops.get_total_flops() / 1e9, 2)


def _build(architecture: str) -> Any:
    import open_clip

    from clipcli.engines.openclip import quiet_open_clip

    with quiet_open_clip():
        return open_clip.create_model(architecture, device="meta", load_weights=False, pretrained_text=False)


def write_zoo() -> None:
    """Write the lists as the installed open_clip has them, without its addresses of files outside the hub."""
    import open_clip

    from clipcli.engines import openclip_registry

    configs = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in openclip_registry.configs().items()}
    tags = {
        architecture: {
            tag: {key: value for key, value in facts.items() if key != "url"} for tag, facts in known.items()
        }
        for architecture, known in openclip_registry.tags().items()
    }
    parts = [f'"version":{json.dumps(open_clip.__version__)}']
    for name, entries in (("configs", configs), ("tags", tags)):
        lines = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in entries.items()]
        parts.append(f'"{name}":{{\n' + ",\n".join(lines) + "\n}")
    openclip_registry.ZOO.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def main() -> None:
    """Write the files anew, in open_clip's order."""
    from clipcli.engines import openclip_registry

    write_zoo()
    if "--zoo" in sys.argv:
        return
    with FILE.open(encoding="utf-8", newline="") as stream:
        kept = {(row["name"], row["pretrained"]): row for row in csv.DictReader(stream)}
    counts: dict[str, tuple[float, float] | None] = {}
    rows = []
    for architecture, tags in openclip_registry.tags().items():
        counts[architecture] = counted(architecture)
        for tag in tags:
            row = {**dict.fromkeys(COLUMNS, ""), **kept.get((architecture, tag), {})}
            row.update(name=architecture, pretrained=tag)
            if found := counts[architecture]:
                row.update(params_millions=str(found[0]), gflops=str(found[1]))
            rows.append(row)
        sys.stderr.write(f"{architecture} {counts[architecture]}\n")
    with FILE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
