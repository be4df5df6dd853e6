"""What a check found: one finding an image, whatever the command that made it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipcli.core.files import is_there
from clipcli.inputs.sources.filesystems import is_url


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


@dataclass(frozen=True)
class Finding:
    """One image held against what was expected of it. `classify`, `rank` and `dedupe` all fill it."""

    image: str
    """The name as the user wrote it."""
    path: str
    """What the operating system opens; for thumbnails."""
    ok: bool
    expected: str | None = None
    """A label, or words such as `no duplicate`; None where nothing is expected of the image."""
    found: str | None = None
    """None where there is no answer, or where the image could not be read."""
    expected_score: float | None = None
    found_score: float | None = None
    error: str | None = None
    """Why the image could not be used."""
    title: str = ""
    """What it is called in a list of cases, where the image's name is not enough."""

    @property
    def message(self) -> str:
        """One sentence, without the image's name."""
        if self.error is not None:
            expected = f"expected {self.expected}, but it " if self.expected else ""
            return f"{expected}cannot be used: {self.error}"
        actual = f"found {self.found or 'no label'}{_score(self.found_score)}"
        return f"expected {self.expected}{_score(self.expected_score)}, {actual}" if self.expected else actual


@dataclass(frozen=True)
class CheckReport:
    """One check and everything it found."""

    name: str
    findings: tuple[Finding, ...]
    holds: bool
    outcome: str
    """One sentence: how many were right, and how many had to be."""
    model: str = ""
    by_label: bool = False
    """Whether what was found are labels, so that a page shows the images label by label."""

    @cached_property
    def failed(self) -> tuple[Finding, ...]:
        """Return those that are not what was expected of them, in the order they came."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def total(self) -> int:
        """Number of images."""
        return len(self.findings)


def _score(value: float | None) -> str:
    return "" if value is None else f" ({value:.4f})"
