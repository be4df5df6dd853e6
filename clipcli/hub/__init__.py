"""Download model files from the hub once, into huggingface_hub's cache; check their hashes; find them offline."""

from clipcli.hub.client import TOKENIZER_FILES, Hub
from clipcli.hub.local_files import CONFIG, WEIGHTS, cached_models, check_file, expected_sha256, is_cached

__all__ = [
    "CONFIG", "TOKENIZER_FILES", "WEIGHTS", "Hub", "cached_models", "check_file", "expected_sha256", "is_cached",
]  # fmt: skip
