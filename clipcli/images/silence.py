"""Nothing that Pillow or libtiff mutters about a bad file reaches the terminal: the error row says it better."""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
import re
import warnings

_FILTER = ("ignore", None, Warning, re.compile("PIL"), 0)


def silence_pillow() -> None:
    """Silence Pillow's warnings, its log and libtiff's own messages, for the whole process.

    Cheap enough to call before every image, and called so: whoever leaves a `warnings.catch_warnings` block puts the
    filters of its beginning back, in every thread, and may take ours away. A block of our own around each image would
    do the same to others.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module="PIL")
    _hush_once()


@functools.cache
def _hush_once() -> None:
    logger = logging.getLogger("PIL")
    logger.addHandler(logging.NullHandler())
    # Propagation ends here because a library that logs through the root logger gives it a handler to stderr.
    logger.propagate = False
    _hush_libtiff()


def _hush_libtiff() -> None:
    """Take away libtiff's error handler, which writes to file descriptor 2 past Python; Pillow raises all the same.

    Looking a symbol up in Pillow's extension module also searches the libraries it is linked to, so the very libtiff
    that Pillow uses is found wherever it lives. Redirecting the descriptor instead would swallow what other threads
    write meanwhile. Where the symbol is out of sight (libtiff linked statically, as in Pillow's wheels for Windows)
    libtiff keeps its voice and nothing else changes.
    """
    try:
        set_error_handler = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return
    set_error_handler.argtypes = [ctypes.c_void_p]
    set_error_handler.restype = ctypes.c_void_p
    set_error_handler(None)
