"""The content of a config file as dataclasses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from clipcli.core.files import split_name

if TYPE_CHECKING:
    from collections.abc import Mapping

DuplicateLevel = Literal["exact", "near", "edited", "similar"]


@dataclass(frozen=True)
class Defaults:
    """Defaults of options; None keeps the program's own default."""

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
    """One check with the keys of the file; file names in it are still as written."""

    name: str
    line: int | None
    """Its first line in the file, for messages."""
    include: tuple[str, ...]
    """Patterns as in .gitignore, relative to the file's folder."""
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Values as for `-l`."""
    labels_file: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    model: str | None = None
    expect: str | None = None
    expect_from: str | None = None
    """`parent`, or a .csv or .jsonl file."""
    forbid: tuple[str, ...] = ()
    duplicates: DuplicateLevel | None = None
    """The level at which no two images may be the same."""
    head: tuple[str, ...] = ()
    """Values as for `--head`."""
    min: Mapping[str, float] = field(default_factory=dict)
    """The lowest score allowed, by the name of the score."""
    max: Mapping[str, float] = field(default_factory=dict)
    """The highest score allowed, by the name of the score."""
    min_accuracy: float | None = None
    """A number from 0 to 1."""
    threshold: float | None = None
    thresholds: str | None = None
    """A file of `clipcli calibrate`."""
    none: str | None = None
    background: tuple[str, ...] = ()
    multi_label: bool = False
    groups: str | None = None

    @property
    def has_labels(self) -> bool:
        """Return whether it names the labels to choose from; files of thresholds and heads of `fit` do so too."""
        return bool(self.labels or self.labels_file or self.thresholds or self.head)

    @property
    def names_labels(self) -> bool:
        """Return whether it has an expectation about labels."""
        return self.expect is not None or self.expect_from is not None or bool(self.forbid)

    @property
    def limits_scores(self) -> bool:
        """Return whether it has limits for the scores of predictors."""
        return bool(self.min or self.max)


@dataclass(frozen=True)
class Config:
    """The content of a config file, or of none."""

    path: str | None = None
    """The file's name in messages; None without a file."""
    folder: str = ""
    """The file's folder, to which patterns and file names are relative."""
    defaults: Defaults = field(default_factory=Defaults)
    checks: tuple[CheckSpec, ...] = ()

    @property
    def weights_dir(self) -> str | None:
        """Return `weights_dir` relative to the working folder; it may not exist yet."""
        name = self.defaults.weights_dir
        return os.path.join(self.folder, name) if name else None  # noqa: PTH118

    def beside(self, name: str) -> str:
        """Return a file name of the config relative to the working folder; other names stay as they are."""
        path = os.path.join(self.folder, name)  # noqa: PTH118 - any bytes included
        return path if os.path.exists(path) else name  # noqa: PTH110 - never raises

    def head_beside(self, argument: str) -> str:
        """Return `FILE` or `NAME=FILE` with the file relative to the working folder."""
        name, path = split_name(argument)
        return f"{name}={self.beside(path)}" if name else self.beside(path)

    def model_beside(self, name: str) -> str:
        """Return a model name with its path relative to the working folder: FOLDER, `local-dir:PATH`, `ARCH@FILE`."""
        if name.startswith("local-dir:"):
            return "local-dir:" + self.beside(name.removeprefix("local-dir:"))
        architecture, at, checkpoint = name.partition("@")
        if at and not name.startswith("hf-hub:"):
            return f"{architecture}@{self.beside(checkpoint)}"
        return self.beside(name)

    def place(self, check: CheckSpec) -> str:
        """Return the position of a check, such as `clipcli.toml:12`."""
        return f"{self.path}:{check.line}" if check.line else str(self.path)
