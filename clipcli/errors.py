"""Errors that a user can cause or meet, their exit codes, and the nearest known names for their hints.

    ClipcliError                 one line for the user, one hint, no traceback
    ├── UsageError        2      arguments that do not go together
    ├── InputsError       4      nothing usable among the inputs
    │   ├── ConfigError          a clipcli.toml that cannot be used
    │   ├── LabelsError          a bad label, groups or expectation file
    │   ├── PackageMissingError  an optional package that is not installed
    │   ├── PlanError            a plan, journal or list of decisions that cannot be used
    │   ├── PromptsError         a bad template file
    │   └── VectorsError         a vector file that is broken or from another model
    ├── ModelError        5      a model that cannot be named, fetched, checked or run
    │   ├── UnknownModelError
    │   ├── TorchMissingError    a model that needs torch, in an installation without it
    │   ├── DownloadError
    │   ├── DeviceError
    │   │   └── ClusterError     a cluster that cannot be reached, is full, or whose workers keep dying
    │   └── BundleError
    └── OutputError       6      results that cannot be written

    ImageError                   one bad file: becomes an error row and does not end the run

Any other exception is a bug: it keeps its traceback and exits with 70.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@unique
class ExitCode(IntEnum):
    """The exit status of the process; documented in docs/exit-codes.md."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    INPUTS = 4
    MODEL = 5
    OUTPUT = 6
    BUG = 70
    INTERRUPTED = 130


class ClipcliError(Exception):
    """An expected failure: `message` says what is wrong, `hint` what the user can do."""

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ClipcliError):
    """Arguments that are wrong or do not go together."""

    exit_code = ExitCode.USAGE


class InputsError(ClipcliError):
    """Nothing usable among the inputs."""

    exit_code = ExitCode.INPUTS


class PackageMissingError(InputsError):
    """An input needs an optional package; the hint says how to install it."""


class ConfigError(InputsError):
    """A config file that cannot be used."""


class LabelsError(InputsError):
    """Labels, groups or expectations that cannot be used."""


class PromptsError(InputsError):
    """Templates that cannot be used."""


class PlanError(InputsError):
    """A plan, a journal or a list of decisions that cannot be used."""


class VectorsError(InputsError):
    """A vector file that is broken or was made by another model."""


class ModelError(ClipcliError):
    """A model that cannot be named, fetched, checked or run."""

    exit_code = ExitCode.MODEL


class UnknownModelError(ModelError):
    """No model has that name; the hint offers the nearest names."""


class TorchMissingError(ModelError):
    """A model that needs torch, in an installation without it; the hint says how to install it."""


class DownloadError(ModelError):
    """Weights that could not be downloaded, or arrived damaged."""


class DeviceError(ModelError):
    """A requested device that does not exist or has too little memory."""


class ClusterError(DeviceError):
    """A cluster that cannot be reached, has no room for a worker, or whose workers keep dying."""


class BundleError(ModelError):
    """A model folder that is incomplete, damaged or from a newer format."""


class OutputError(ClipcliError):
    """Results that cannot be written."""

    exit_code = ExitCode.OUTPUT


Stage = Literal["read", "decode", "preprocess", "encode"]


class ImageError(Exception):
    """One image that cannot be used; it becomes an error row and the run goes on."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage: Stage = stage
        self.reason = reason

    def bare(self) -> ImageError:
        """Return a copy without the traceback, whose frames would keep the file's bytes and pixels in memory."""
        return ImageError(self.stage, self.reason)


MOST_SUGGESTIONS = 5
"""Most unknown names of one file that get a suggestion; each takes a while among 10,000 known ones."""
_BEGINNING = 4
"""Fewest letters of a word that counts as the beginning of a longer name."""


def nearest(word: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names that begin with `word` or look like it; case is ignored."""
    from difflib import get_close_matches

    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    begun = [folded for folded in by_folded if len(word) >= _BEGINNING and folded.startswith(word.casefold())]
    near = get_close_matches(word.casefold(), by_folded, n=count)
    return [by_folded[folded] for folded in list(dict.fromkeys([*sorted(begun, key=len), *near]))[:count]]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `did you mean 'cat' or 'cow'?`, or an empty text if no name is near."""
    names = [repr(name) for name in nearest(word, candidates)]
    if not names:
        return ""
    *others, last = names
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
