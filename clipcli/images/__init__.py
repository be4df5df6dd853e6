"""One file → bytes → one upright Pillow image, or an `ImageError` that says in a few words why not.

    reading.py    a path or reference → its bytes; never hangs on what is not a file
    decoding.py   bytes → a Pillow image, within a limit of pixels
    pages.py      what a file holds beside its first picture
    digests.py    all pixels of a file → one digest
    rendering.py  any mode → 8-bit RGB as a viewer shows it
    deep_grey.py  grey of more than 8 bits → 8 bits
    raw.py        camera raw files → the preview that the camera put into them
    png.py        PNG files without metadata that could cost the picture
    reasons.py    what Pillow raises, and what the first bytes show → words for the user
    quiet.py      nothing that Pillow or libtiff mutters reaches the terminal

Nothing here knows a model: what the image tower wants is the business of `clipcli.images.preprocess`.
"""

from __future__ import annotations

from clipcli.images.colour_modes import ON_WHITE, Rendering
from clipcli.images.decoder import DEFAULT_MAX_PIXELS, decode
from clipcli.images.reader import read, read_ref

__all__ = ["DEFAULT_MAX_PIXELS", "ON_WHITE", "Rendering", "decode", "read", "read_ref"]
