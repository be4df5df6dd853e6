"""What a file is called in a report: seen from the top of the checkout, as servers know it."""

from __future__ import annotations

import os
from pathlib import Path

from clipcli.files import is_there
from clipcli.sources.places import is_url


def in_checkout(image: str) -> str | None:
    """The name from the top of the checkout, with forward slashes; None for a URL, and where the file lies elsewhere.

    Names stay what they are to the last byte, and links are not followed. The top is what GitHub says, else the nearest
    folder with a `.git`, else the working folder.
    """
    if is_url(image):
        return None
    try:
        inside = os.path.relpath(image, _top())
    except ValueError:  # another drive
        return None
    return None if inside.startswith(os.pardir + os.sep) else inside.replace(os.sep, "/")


def _top() -> str | Path:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        return workspace
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if is_there(folder / ".git")), here)
