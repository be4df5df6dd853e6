"""What is expected of each image, and what is said when it is not so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import UsageError
from clipcli.expectations import parse_expectations, require_labels
from clipcli.inputs import ImageRef
from clipcli.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.commands.classify import CheckOptions
    from clipcli.expectations import Expectations
    from clipcli.talk import Talk
    from clipcli.tasks.checks import Tally, Verdict

PARENT = "parent"


def parent_name(ref: ImageRef) -> str:
    """The name of the folder an image is in, as in torchvision's ImageFolder."""
    return os.path.basename(os.path.dirname(os.path.abspath(ref.path)))  # noqa: PTH100, PTH119, PTH120


def spoken(name: str) -> str:
    """A folder's name as a person would say it: `red_car` is a red car."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class Expected:
    """Where an image's expected label comes from: one for all, the folder's name, or a table."""

    label: str | None = None
    parent: bool = False
    table: Expectations | None = None

    def of(self, ref: ImageRef, names: Sequence[str]) -> str | None:
        """The label expected of an image, spelt as the labels are; None when nothing is expected of it."""
        if self.parent:
            return _as_spelt(parent_name(ref), names)
        if self.table is not None:
            row = self.table.match(ref.path)
            return row.label if row else None
        return self.label

    def check_names(self, names: Sequence[str]) -> None:
        """Know a misspelt expectation before any image is read.

        Raises:
            UsageError: `--expect` names no label.
            LabelsError: the table does.
        """
        if self.label is not None and self.label not in names:
            hint = did_you_mean(self.label, names) or "the label has to be among those given"
            raise UsageError(f"--expect {self.label!r} is not one of the labels", hint=hint)
        if self.table is not None:
            require_labels(self.table, names)

    def refs(self) -> list[ImageRef]:
        """The images that a table speaks of, for a run that names no others."""
        if self.table is None:
            return []
        paths = [(row.path, os.path.join(self.table.folder, row.path)) for row in self.table.rows]  # noqa: PTH118
        return [ImageRef(written if os.path.exists(written) else beside, written) for written, beside in paths]  # noqa: PTH110


def parse_expected(check: CheckOptions) -> Expected | None:
    """The check that was asked for, if one was.

    Raises:
        UsageError: options that do not go together.
        LabelsError: a table that cannot be used.
    """
    if check.expect is not None and check.expect_from is not None:
        raise UsageError("--expect and --expect-from do not go together", hint="give one of them")
    if check.expect is not None:
        return Expected(label=check.expect)
    if check.expect_from is None:
        if check.min_accuracy is not None:
            raise UsageError(
                "--min-accuracy needs something to check", hint="add --expect LABEL or --expect-from parent|FILE"
            )
        return None
    if check.expect_from == PARENT:
        return Expected(parent=True)
    return Expected(table=parse_expectations(check.expect_from))


def _as_spelt(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    return next((label for label in names if spoken(label).casefold() == spoken(name).casefold()), name)


def say_failure(talk: Talk, image: str, verdict: Verdict) -> None:
    """One line for an image that fails its check."""
    if verdict.found_score is None:
        talk.line(f"{image}: expected {verdict.expected}, but it cannot be read")
        return
    expected = "none of the labels" if verdict.expected_score is None else f"{verdict.expected_score:.4f}"
    found = (
        f"{verdict.found} ({verdict.found_score:.4f})"
        if verdict.found
        else f"no label (best {verdict.found_score:.4f})"
    )
    talk.line(f"{image}: expected {verdict.expected} ({expected}), found {found}")


def say_outcome(talk: Talk, tally: Tally) -> None:
    """The check as a whole: accuracy, what was needed, the worst confusions."""
    talk.line(
        f"check {'holds' if tally.holds else 'fails'}: {tally.right} of {tally.total} images right, "
        f"top-1 {tally.top1:.1%}, top-5 {tally.top5:.1%}, needed {tally.minimum:.1%}"
    )
    for expected, found, count in tally.worst:
        talk.line(f"  {count} × {expected} taken for {found}")
