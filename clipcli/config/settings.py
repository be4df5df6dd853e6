"""What a config file says, as values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

DuplicateLevel = Literal["exact", "near", "edited", "similar"]


@dataclass(frozen=True)
class Defaults:
    """What options are where the command line says nothing; None leaves the program's own default."""

    model: str | None = None
    device: str | None = None
    precision: str | None = None
    engine: str | None = None
    offline: bool | None = None
    weights_dir: str | None = None
    prompts: tuple[str, ...] = ()
    format: str | None = None
    batch_size: int | None = None
    workers: int | None = None


@dataclass(frozen=True)
class CheckSpec:
    """One check, key for key as the file has it; files in it are still as written."""

    name: str
    line: int | None
    """Where it starts, for messages."""
    include: tuple[str, ...]
    """Patterns of .gitignore's kind, from the file's folder."""
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """As `-l` takes them."""
    labels_file: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    model: str | None = None
    expect: str | None = None
    expect_from: str | None = None
    """`parent`, or a .csv or .jsonl."""
    forbid: tuple[str, ...] = ()
    duplicates: DuplicateLevel | None = None
    """No two images may be the same at this level."""
    min_accuracy: float | None = None
    """0 to 1."""
    threshold: float | None = None
    thresholds: str | None = None
    """A file of `clipcli calibrate`."""
    none: str | None = None
    background: tuple[str, ...] = ()
    multi_label: bool = False
    groups: str | None = None

    @property
    def has_labels(self) -> bool:
        """Return whether it says which labels there are to choose from.

        Thresholds know those that they were made for.
        """
        return bool(self.labels or self.labels_file or self.thresholds)

    @property
    def names_labels(self) -> bool:
        """Return whether it says what images should, or should not, look like."""
        return self.expect is not None or self.expect_from is not None or bool(self.forbid)


@dataclass(frozen=True)
class Config:
    """One file, or none."""

    path: str | None = None
    """As messages call it; None where there is no file."""
    folder: str = ""
    """Where it is: patterns and relative files start here."""
    defaults: Defaults = field(default_factory=Defaults)
    checks: tuple[CheckSpec, ...] = ()

    @property
    def weights_dir(self) -> str | None:
        """`weights_dir`, from the working folder; it may be still to be made."""
        name = self.defaults.weights_dir
        return os.path.join(self.folder, name) if name else None  # noqa: PTH118

    def beside(self, name: str) -> str:
        """Return a file that the config names, openable from the working folder.

        A name that is no file stays as it is.
        """
        path = os.path.join(self.folder, name)  # noqa: PTH118 - any bytes included
        return path if os.path.exists(path) else name  # noqa: PTH110 - never raises

    def model_beside(self, name: str) -> str:
        """Return the same for a model: a bundle's folder, `local-dir:PATH`, or the checkpoint of `ARCH@FILE`."""
        if name.startswith("local-dir:"):
            return "local-dir:" + self.beside(name.removeprefix("local-dir:"))
        architecture, at, checkpoint = name.partition("@")
        if at and not name.startswith("hf-hub:"):
            return f"{architecture}@{self.beside(checkpoint)}"
        return self.beside(name)

    def place(self, check: CheckSpec) -> str:
        """`clipcli.toml:12`, where a check starts."""
        return f"{self.path}:{check.line}" if check.line else str(self.path)
