"""The findings of a check: one per image, for every command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipcli.core.files import is_there


def in_checkout(image: str) -> str | None:
    """Return the path relative to the top of the checkout, with forward slashes; None for URLs and files elsewhere.

    Names are not changed, and links are not followed. The top is GitHub's workspace, else the nearest folder with a
    `.git`, else the working folder.
    """
    from clipcli.inputs.sources.filesystems import is_url  # options import this module for their help

    if is_url(image):
        return None
    try:
        relative = os.path.relpath(image, _top())
    except ValueError:  # another drive
        return None
    return None if relative.startswith(os.pardir + os.sep) else relative.replace(os.sep, "/")


def _top() -> str | Path:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        return workspace
    working_folder = Path.cwd()
    return next(
        (folder for folder in (working_folder, *working_folder.parents) if is_there(folder / ".git")), working_folder
    )


@dataclass(frozen=True)
class Finding:
    """One image compared with an expectation, from `classify`, `rank` or `dedupe`."""

    image: str
    """The name as the user wrote it."""
    path: str
    """The path that the operating system opens, for thumbnails."""
    ok: bool
    expected: str | None = None
    """A label, or words such as `no duplicate`; None without an expectation."""
    found: str | None = None
    """The answer; None if there is none, or the image could not be read."""
    expected_score: float | None = None
    found_score: float | None = None
    error: str | None = None
    """The reason why the image could not be used."""
    title: str = ""
    """Its name in a list of test cases, if the image's name is not enough."""

    @property
    def message(self) -> str:
        """Return one sentence, without the image's name."""
        if self.error is not None:
            expected = f"expected {self.expected}, but it " if self.expected else ""
            return f"{expected}cannot be used: {self.error}"
        actual = f"found {self.found or 'no label'}{_score(self.found_score)}"
        return f"expected {self.expected}{_score(self.expected_score)}, {actual}" if self.expected else actual


@dataclass(frozen=True)
class CheckReport:
    """One check with its findings."""

    name: str
    findings: tuple[Finding, ...]
    holds: bool
    outcome: str
    """One sentence: how many findings were right, and how many had to be."""
    model: str = ""
    by_label: bool = False
    """Whether the answers are labels, so that a page groups images by label."""

    @cached_property
    def failed(self) -> tuple[Finding, ...]:
        """Return the findings that do not meet the expectation, in order."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def total(self) -> int:
        """Return the number of images."""
        return len(self.findings)


def _score(value: float | None) -> str:
    return "" if value is None else f" ({value:.4f})"
