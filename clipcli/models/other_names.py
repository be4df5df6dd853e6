"""Names that models have elsewhere, and the OpenCLIP weights that are the same: converted, not trained again."""

from __future__ import annotations

import re
from typing import Final

_SAME: Final = {
    "openai/clip-vit-base-patch32": "ViT-B-32/openai",
    "openai/clip-vit-base-patch16": "ViT-B-16/openai",
    "openai/clip-vit-large-patch14": "ViT-L-14/openai",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336/openai",
    "sentence-transformers/clip-vit-b-32": "ViT-B-32/openai",
    "sentence-transformers/clip-vit-b-16": "ViT-B-16/openai",
    "sentence-transformers/clip-vit-l-14": "ViT-L-14/openai",
    "google/siglip-base-patch16-224": "ViT-B-16-SigLIP/webli",
    "google/siglip-base-patch16-256": "ViT-B-16-SigLIP-256/webli",
    "google/siglip-base-patch16-384": "ViT-B-16-SigLIP-384/webli",
    "google/siglip-base-patch16-512": "ViT-B-16-SigLIP-512/webli",
    "google/siglip-base-patch16-256-multilingual": "ViT-B-16-SigLIP-i18n-256/webli",
    "google/siglip-base-patch16-256-i18n": "ViT-B-16-SigLIP-i18n-256/webli",
    "google/siglip-large-patch16-256": "ViT-L-16-SigLIP-256/webli",
    "google/siglip-large-patch16-384": "ViT-L-16-SigLIP-384/webli",
    "google/siglip-so400m-patch14-224": "ViT-SO400M-14-SigLIP/webli",
    "google/siglip-so400m-patch14-384": "ViT-SO400M-14-SigLIP-384/webli",
    "google/siglip-so400m-patch16-256-i18n": "ViT-SO400M-16-SigLIP-i18n-256/webli",
    "google/siglip2-base-patch32-256": "ViT-B-32-SigLIP2-256/webli",
    "google/siglip2-base-patch16-224": "ViT-B-16-SigLIP2/webli",
    "google/siglip2-base-patch16-256": "ViT-B-16-SigLIP2-256/webli",
    "google/siglip2-base-patch16-384": "ViT-B-16-SigLIP2-384/webli",
    "google/siglip2-base-patch16-512": "ViT-B-16-SigLIP2-512/webli",
    "google/siglip2-large-patch16-256": "ViT-L-16-SigLIP2-256/webli",
    "google/siglip2-large-patch16-384": "ViT-L-16-SigLIP2-384/webli",
    "google/siglip2-large-patch16-512": "ViT-L-16-SigLIP2-512/webli",
    "google/siglip2-so400m-patch14-224": "ViT-SO400M-14-SigLIP2/webli",
    "google/siglip2-so400m-patch14-384": "ViT-SO400M-14-SigLIP2-378/webli",
    "google/siglip2-so400m-patch16-256": "ViT-SO400M-16-SigLIP2-256/webli",
    "google/siglip2-so400m-patch16-384": "ViT-SO400M-16-SigLIP2-384/webli",
    "google/siglip2-so400m-patch16-512": "ViT-SO400M-16-SigLIP2-512/webli",
    "google/siglip2-giant-opt-patch16-256": "ViT-gopt-16-SigLIP2-256/webli",
    "google/siglip2-giant-opt-patch16-384": "ViT-gopt-16-SigLIP2-384/webli",
    "facebook/metaclip-b32-400m": "ViT-B-32-quickgelu/metaclip_400m",
    "facebook/metaclip-b16-400m": "ViT-B-16-quickgelu/metaclip_400m",
    "facebook/metaclip-l14-400m": "ViT-L-14-quickgelu/metaclip_400m",
    "facebook/metaclip-b32-fullcc2.5b": "ViT-B-32-quickgelu/metaclip_fullcc",
    "facebook/metaclip-b16-fullcc2.5b": "ViT-B-16-quickgelu/metaclip_fullcc",
    "facebook/metaclip-l14-fullcc2.5b": "ViT-L-14-quickgelu/metaclip_fullcc",
    "facebook/metaclip-h14-fullcc2.5b": "ViT-H-14-quickgelu/metaclip_fullcc",
    "facebook/metaclip-2-worldwide-huge-quickgelu": "ViT-H-14-worldwide-quickgelu/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-huge-378": "ViT-H-14-worldwide-378/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-giant": "ViT-bigG-14-worldwide/metaclip2_worldwide",
    "facebook/metaclip-2-worldwide-giant-378": "ViT-bigG-14-worldwide-378/metaclip2_worldwide",
    "facebook/pe-core-t16-384": "PE-Core-T-16-384/meta",
    "facebook/pe-core-s16-384": "PE-Core-S-16-384/meta",
    "facebook/pe-core-b16-224": "PE-Core-B-16/meta",
    "facebook/pe-core-l14-336": "PE-Core-L-14-336/meta",
    "facebook/pe-core-g14-448": "PE-Core-bigG-14-448/meta",
    "apple/mobileclip-s1": "MobileCLIP-S1/datacompdr",
    "apple/mobileclip-s2": "MobileCLIP-S2/datacompdr",
    "apple/mobileclip-b": "MobileCLIP-B/datacompdr",
    "apple/mobileclip-b-lt": "MobileCLIP-B/datacompdr_lt",
    "apple/mobileclip2-s0": "MobileCLIP2-S0/dfndr2b",
    "apple/mobileclip2-s2": "MobileCLIP2-S2/dfndr2b",
    "apple/mobileclip2-s3": "MobileCLIP2-S3/dfndr2b",
    "apple/mobileclip2-s4": "MobileCLIP2-S4/dfndr2b",
    "apple/mobileclip2-b": "MobileCLIP2-B/dfndr2b",
    "apple/mobileclip2-l-14": "MobileCLIP2-L-14/dfndr2b",
}
"""Repository of another library, in lower case → `ARCH/TAG`."""
_NOT_IN_OPENCLIP: Final = re.compile(
    r"google/siglip.*(naflex|jax)|google/(vit|owl)|openai/clip-rn|facebook/(metaclip|dino|pe-|flava)|apple/(mobileclip|aim)"
    r"|sentence-transformers/|jinaai/jina-clip|nomic-ai/nomic-embed|salesforce/blip|kakaobrain/align|baai/(altclip|eva)"
    r"|ofa-sys/chinese-clip|cidas/clipseg|microsoft/|laion/clap|quansun/eva-clip|openbmb/|qwen/"
)
"""Repositories of models that OpenCLIP has no weights of, as far as `_SAME` does not name them."""


def same_weights(repository: str) -> str | None:
    """Return `ARCH/TAG` of the weights that another library's repository holds too; None where it is unknown."""
    return _SAME.get(repository.casefold())


def is_of_another_library(repository: str) -> bool:
    """Return whether a repository is known to hold a model that OpenCLIP cannot load and has no copy of."""
    name = repository.casefold()
    return name not in _SAME and _NOT_IN_OPENCLIP.match(name) is not None
