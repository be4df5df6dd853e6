"""Compare each image with its expected label, and report failures."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.errors import UsageError, did_you_mean
from clipcli.inputs.collect import ImageRef
from clipcli.inputs.expected_labels import require_labels
from clipcli.inputs.text_files import tidy
from clipcli.output.reports import Finding
from clipcli.prompts.labels import wordnet_labels
from clipcli.tasks.classify import joined, judge, judge_forbidden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.expected_labels import Expectation, Expectations
    from clipcli.tasks.classify import Prediction, Tally, Verdict


_NAMED = 5
"""Largest number of table rows that one message names."""


def parent_name(ref: ImageRef) -> str:
    """Return the name of the folder an image is in, as in torchvision's ImageFolder."""
    return tidy(os.path.basename(os.path.dirname(os.path.abspath(ref.path))))  # noqa: PTH100, PTH119, PTH120


def label_of_folder(name: str, names: Sequence[str]) -> str:
    """Return the label that a folder's name stands for, in the labels' spelling: `red car` for `Red_Car`.

    A WordNet id, as in ImageNet's folders (`n01440764`), stands for its label in `@imagenet`.
    """
    if name in names:
        return name
    if is_wordnet_id(name) and (label := wordnet_labels().get(name)) in names and label is not None:
        return label
    return next((label for label in names if _alike(label) == _alike(name)), name)


def is_wordnet_id(name: str) -> bool:
    """Return whether a name is a WordNet id, as the names of ImageNet's folders are."""
    return re.fullmatch(r"n\d{8}", name) is not None


def _alike(name: str) -> str:
    return tidy(name.replace("_", " ").replace("-", " ")).casefold()


@dataclass(frozen=True)
class ExpectationCheck:
    """The source of expected labels: one label, folder names, or a table; or labels that are forbidden."""

    label: str | None = None
    parent: bool = False
    table: Expectations | None = None
    forbidden: tuple[str, ...] = ()
    _matched: set[int] = field(default_factory=set, compare=False)
    """Lines of the table that have matched an image so far."""

    def of(self, ref: ImageRef, names: Sequence[str]) -> tuple[str, ...]:
        """Return the right labels for an image, in the labels' spelling; () if it has no expected label."""
        if self.parent:
            return (label_of_folder(parent_name(ref), names),)
        if self.table is not None:
            row = self.table.match(ref.path)
            if row is None:
                return ()
            self._matched.add(row.line)
            return row.labels
        if self.forbidden:
            return (f"not {joined(self.forbidden)}",)
        return () if self.label is None else (self.label,)

    @property
    def unmatched(self) -> list[Expectation]:
        """Return the rows of the table that have matched no image so far."""
        rows = self.table.rows if self.table is not None else ()
        return [row for row in rows if row.line not in self._matched]

    def judge(self, expected: Sequence[str], result: Prediction, *, multi_label: bool) -> Verdict:
        """Compare one result with the labels that `of` returned for its image."""
        if self.forbidden:
            return judge_forbidden(self.forbidden, result, multi_label=multi_label)
        return judge(expected, result, multi_label=multi_label)

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse an expected label that is not one of the labels, before any image is read.

        Raises:
            UsageError: the label of `--expect` or `--forbid` is not one of the labels.
            LabelsError: a label of the table is not.
        """
        option = "--forbid" if self.forbidden else "--expect"
        for label in self.forbidden or ([] if self.label is None else [self.label]):
            if label not in names:
                hint = did_you_mean(label, names) or "the label has to be among those given"
                raise UsageError(f"{option} {label!r} is not one of the labels", hint=hint)
        if self.table is not None:
            require_labels(self.table, names)

    def refs(self) -> list[ImageRef]:
        """Return the images of the table, for a run without other inputs."""
        if self.table is None:
            return []
        paths = [(row.path, os.path.join(self.table.folder, row.path)) for row in self.table.rows]  # noqa: PTH118
        return [ImageRef(written if os.path.exists(written) else beside, written) for written, beside in paths]  # noqa: PTH110


def print_unmatched(console: Console, expected: ExpectationCheck) -> None:
    """Warn of table rows that matched no image."""
    rows = expected.unmatched
    if rows and expected.table is not None:
        first = ", ".join(f"{printable(row.path)} (line {row.line})" for row in rows[:_NAMED])
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        console.warning(f"{expected.table.source}: no image for {first}{more}")


def print_failure(console: Console, image: str, verdict: Verdict, names: Sequence[str]) -> None:
    """Print one line for an image that fails its check; `names` are all labels that an image can get."""
    if verdict.found_score is None:
        console.line(f"{printable(image)}: expected {verdict.expected}, but it cannot be read")
        return
    expected = "below the threshold" if set(verdict.right) & set(names) else "none of the labels"
    if verdict.expected_score is not None:
        expected = f"{verdict.expected_score:.4f}"
    right = verdict.expected if verdict.forbidden else f"{verdict.expected} ({expected})"
    result = (
        f"{verdict.found} ({verdict.found_score:.4f})"
        if verdict.found
        else f"no label (best {verdict.found_score:.4f})"
    )
    console.line(f"{printable(image)}: expected {right}, found {result}")


def finding_of(ref: ImageRef, verdict: Verdict) -> Finding:
    """Return the finding of a checked image, for reports."""
    return Finding(
        ref.name, ref.path, verdict.holds, verdict.expected, verdict.found, verdict.expected_score, verdict.found_score
    )


def outcome(tally: Tally) -> str:
    """Return a sentence on the check as a whole."""
    return (
        f"{tally.right} of {tally.total} images right, "
        f"top-1 {tally.top1:.1%}, top-5 {tally.top5:.1%}, needed {tally.minimum:.1%}"
    )


def print_outcome(console: Console, tally: Tally) -> None:
    """Print the outcome of the check: accuracy, the required accuracy, and the most frequent confusions."""
    console.line(f"check {'holds' if tally.holds else 'fails'}: {outcome(tally)}")
    for expected, label, count in tally.worst:
        console.line(f"  {count} × {expected} taken for {label}")
