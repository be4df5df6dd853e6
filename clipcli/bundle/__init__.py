"""The portable model folder: two ONNX towers, their weights, a tokenizer and a manifest. Needs no model library.

    image.onnx  image.onnx.data     image tower: graph, and its weights as external data (memory-mapped)
    text.onnx   text.onnx.data      text tower
    tokenizer.json                  the `tokenizers` library's own format
    manifest.json                   the model, its input format, size and SHA-256 of every other file

docs/advanced/bundles.md describes the format for programs that read or make bundles without clipcli. The module `stage`
writes bundles; readers do not import it, which keeps the start fast.
"""

from __future__ import annotations

from clipcli.bundle.bundle import (
    FORMAT,
    IMAGE_TOWER,
    MANIFEST,
    TEXT_TOWER,
    TOKENIZER,
    Bundle,
    FileEntry,
    Manifest,
    TokenizerSpec,
    check_hashes,
    is_bundle,
    read,
)

__all__ = [
    "FORMAT",
    "IMAGE_TOWER",
    "MANIFEST",
    "TEXT_TOWER",
    "TOKENIZER",
    "Bundle",
    "FileEntry",
    "Manifest",
    "TokenizerSpec",
    "check_hashes",
    "is_bundle",
    "read",
]
