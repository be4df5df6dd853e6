"""Compare each image with its expected label, and report failures."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.core.console import printable
from clipcli.core.suggest import did_you_mean
from clipcli.errors import UsageError
from clipcli.inputs.collect import ImageRef
from clipcli.inputs.expected_labels import PARENT, parse_expectations, require_labels
from clipcli.inputs.text_files import tidy
from clipcli.output.reports import Finding
from clipcli.prompts.shipped import wordnet_labels
from clipcli.tasks.accuracy import joined, judge, judge_forbidden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.expected_labels import Expectation, Expectations
    from clipcli.options.classify import CheckOptions
    from clipcli.tasks.accuracy import Tally, Verdict
    from clipcli.tasks.classify import Prediction


_NAMED = 5
"""Rows of a table that one message names."""


def parent_name(ref: ImageRef) -> str:
    """Return the name of the folder an image is in, as in torchvision's ImageFolder; composed, as labels are."""
    return tidy(os.path.basename(os.path.dirname(os.path.abspath(ref.path))))  # noqa: PTH100, PTH119, PTH120


def label_of_folder(name: str, names: Sequence[str]) -> str:
    """Return the label that a folder's name means, as the labels spell it: `Red_Car` is `red car`.

    A WordNet id, such as ImageNet's folders have (`n01440764`), means the label of `@imagenet` for it.
    """
    if name in names:
        return name
    if is_wordnet_id(name) and (label := wordnet_labels().get(name)) in names and label is not None:
        return label
    return next((label for label in names if _alike(label) == _alike(name)), name)


def is_wordnet_id(name: str) -> bool:
    """Return whether a folder is named as those of ImageNet are."""
    return re.fullmatch(r"n\d{8}", name) is not None


def _alike(name: str) -> str:
    return tidy(name.replace("_", " ").replace("-", " ")).casefold()


@dataclass(frozen=True)
class ExpectationCheck:
    """Where an image's expected label comes from: one for all, the folder's name, a table; or what it must not be."""

    label: str | None = None
    parent: bool = False
    table: Expectations | None = None
    forbidden: tuple[str, ...] = ()
    _matched: set[int] = field(default_factory=set, compare=False)
    """Lines of the table that spoke of an image so far."""

    def of(self, ref: ImageRef, names: Sequence[str]) -> tuple[str, ...]:
        """Return the labels that are right for an image, spelt as the labels are; () when nothing is expected of it."""
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
        """Rows of the table that spoke of no image so far."""
        rows = self.table.rows if self.table is not None else ()
        return [row for row in rows if row.line not in self._matched]

    def judge(self, wanted: Sequence[str], result: Prediction, *, multi_label: bool) -> Verdict:
        """Hold one result against what `of` said of its image."""
        if self.forbidden:
            return judge_forbidden(self.forbidden, result, multi_label=multi_label)
        return judge(wanted, result, multi_label=multi_label)

    def check_names(self, names: Sequence[str]) -> None:
        """Know a misspelt expectation before any image is read.

        Raises:
            UsageError: `--expect` or `--forbid` names no label.
            LabelsError: the table does.
        """
        option = "--forbid" if self.forbidden else "--expect"
        for label in self.forbidden or ([] if self.label is None else [self.label]):
            if label not in names:
                hint = did_you_mean(label, names) or "the label has to be among those given"
                raise UsageError(f"{option} {label!r} is not one of the labels", hint=hint)
        if self.table is not None:
            require_labels(self.table, names)

    def refs(self) -> list[ImageRef]:
        """Return the images that a table speaks of, for a run that names no others."""
        if self.table is None:
            return []
        paths = [(row.path, os.path.join(self.table.folder, row.path)) for row in self.table.rows]  # noqa: PTH118
        return [ImageRef(written if os.path.exists(written) else beside, written) for written, beside in paths]  # noqa: PTH110


def parse_expected(check: CheckOptions) -> ExpectationCheck | None:
    """Return the check that was asked for, if one was.

    Raises:
        UsageError: options that do not go together.
        LabelsError: a table that cannot be used.
    """
    given = {"--expect": check.expect, "--expect-from": check.expect_from, "--forbid": check.forbid}
    asked = [option for option, value in given.items() if value is not None]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} do not go together", hint="give one of them")
    if check.forbid is not None:
        return ExpectationCheck(forbidden=tuple(dict.fromkeys(check.forbid)))
    if check.expect is not None:
        return ExpectationCheck(label=check.expect)
    if check.expect_from is None:
        if check.min_accuracy is not None:
            raise UsageError(
                "--min-accuracy needs something to check",
                hint="add --expect LABEL, --expect-from parent|FILE or --forbid LABEL",
            )
        return None
    if check.expect_from == PARENT:
        return ExpectationCheck(parent=True)
    return ExpectationCheck(table=parse_expectations(check.expect_from))


def say_unmatched(console: Console, expected: ExpectationCheck) -> None:
    """Name the rows of a table that spoke of no image."""
    rows = expected.unmatched
    if rows and expected.table is not None:
        first = ", ".join(f"{printable(row.path)} (line {row.line})" for row in rows[:_NAMED])
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        console.warning(f"{expected.table.source}: no image for {first}{more}")


def say_failure(console: Console, image: str, verdict: Verdict, names: Sequence[str]) -> None:
    """One line for an image that fails its check; a newline in its name starts no other. `names` are all answers."""
    if verdict.found_score is None:
        console.line(f"{printable(image)}: expected {verdict.expected}, but it cannot be read")
        return
    expected = "below the threshold" if set(verdict.right) & set(names) else "none of the labels"
    if verdict.expected_score is not None:
        expected = f"{verdict.expected_score:.4f}"
    wanted = verdict.expected if verdict.forbidden else f"{verdict.expected} ({expected})"
    found = (
        f"{verdict.found} ({verdict.found_score:.4f})"
        if verdict.found
        else f"no label (best {verdict.found_score:.4f})"
    )
    console.line(f"{printable(image)}: expected {wanted}, found {found}")


def finding_of(ref: ImageRef, verdict: Verdict) -> Finding:
    """Return what reports say of an image that was checked."""
    return Finding(
        ref.name, ref.path, verdict.holds, verdict.expected, verdict.found, verdict.expected_score, verdict.found_score
    )


def outcome(tally: Tally) -> str:
    """One sentence on the check as a whole."""
    return (
        f"{tally.right} of {tally.total} images right, "
        f"top-1 {tally.top1:.1%}, top-5 {tally.top5:.1%}, needed {tally.minimum:.1%}"
    )


def say_outcome(console: Console, tally: Tally) -> None:
    """The check as a whole: accuracy, what was needed, the worst confusions."""
    console.line(f"check {'holds' if tally.holds else 'fails'}: {outcome(tally)}")
    for expected, found, count in tally.worst:
        console.line(f"  {count} × {expected} taken for {found}")
