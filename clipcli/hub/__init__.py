"""Files of models from the hub: fetched once into huggingface_hub's own cache, checked by hash, found again offline."""

from clipcli.hub.fetching import Hub
from clipcli.hub.hashes import check_file, expected_sha256, sha256_of
from clipcli.hub.on_disk import CONFIG, WEIGHTS, cached_models, is_cached

__all__ = ["CONFIG", "WEIGHTS", "Hub", "cached_models", "check_file", "expected_sha256", "is_cached", "sha256_of"]
