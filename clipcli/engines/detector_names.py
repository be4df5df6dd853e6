"""The names of detection models, apart from their files: every parsed name of a model is compared with them."""

from __future__ import annotations

import re
from typing import Final

DETECTOR_ALIASES: Final = {
    "owlv2": "hf-hub:google/owlv2-base-patch16-ensemble",
    "owlv2-large": "hf-hub:google/owlv2-large-patch14-ensemble",
    "owlvit": "hf-hub:google/owlvit-base-patch32",
    "grounding-dino": "hf-hub:IDEA-Research/grounding-dino-tiny",
    "grounding-dino-base": "hf-hub:IDEA-Research/grounding-dino-base",
}
"""Aliases of detection models for `detect`."""
_NAME: Final = re.compile(r"owl-?v(it|2)|grounding-?dino")


def is_detector_name(repository: str) -> bool:
    """Return whether the name of a repository is that of a detection model."""
    return _NAME.search(repository.casefold()) is not None
