"""Files of models from the hub: fetched once into huggingface_hub's own cache, checked by hash, found again offline."""

from clipcli.hub.client import Hub
from clipcli.hub.local_files import CONFIG, WEIGHTS, cached_models, check_file, expected_sha256, is_cached, sha256_of

__all__ = ["CONFIG", "WEIGHTS", "Hub", "cached_models", "check_file", "expected_sha256", "is_cached", "sha256_of"]
