"""Zero-shot vision from the shell: classify, embed, rank and dedupe images with OpenCLIP models."""

__version__ = "0.1.0"
