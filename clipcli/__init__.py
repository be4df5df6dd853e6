"""Zero-shot vision: classify, embed, rank and dedupe images with OpenCLIP models, from the shell and from Python.

`clipcli.classify`, `clipcli.embed`, `clipcli.rank`, `clipcli.dedupe` and `clipcli.open_session` are the stable
interface; docs/api.md describes them. They are loaded on first use, so `import clipcli` is fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Classification": "api.results",
    "ClipSession": "api.clip_session",
    "ClipcliError": "errors",
    "DuplicateImage": "api.results",
    "Embedding": "api.results",
    "Embeddings": "api.results",
    "RankedImage": "api.results",
    "Results": "api.results",
    "classify": "api",
    "dedupe": "api",
    "embed": "api",
    "open_session": "api",
    "rank": "api",
}
"""The module of each public name; `__init__.pyi` tells type checkers the same."""
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
