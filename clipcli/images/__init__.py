"""Read a file and decode it to an upright Pillow image, or raise an `ImageError` with a short reason.

reader.py        a path or reference → its bytes; never waits for a pipe or device
decoder.py       bytes → a Pillow image, within a limit of pixels; the pages and frames of a file
digests.py       all pixels of a file → one digest
colour_modes.py  any mode → 8-bit RGB as in a viewer
raw.py           camera raw files → the preview that the camera embedded
png.py           PNG files without metadata that could prevent decoding
messages.py      exceptions of Pillow, and first bytes → messages for the user
thumbnails.py    a file → small pictures for comparison
resample.py      a large photo → the pixels that Pillow's bicubic filter gives, faster
preprocess.py    a Pillow image → the input of a model's image tower
"""

from __future__ import annotations

from clipcli.images.colour_modes import ON_WHITE, Rendering
from clipcli.images.decoder import DEFAULT_MAX_PIXELS, decode
from clipcli.images.reader import read, read_ref

__all__ = ["DEFAULT_MAX_PIXELS", "ON_WHITE", "Rendering", "decode", "read", "read_ref"]
