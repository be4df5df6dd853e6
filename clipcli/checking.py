"""What is expected of each image, and what is said when it is not so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import UsageError
from clipcli.expectations import PARENT, parse_expectations, require_labels
from clipcli.inputs import ImageRef
from clipcli.reports import Finding
from clipcli.spelling import did_you_mean
from clipcli.talk import printable
from clipcli.tasks.checks import judge, judge_forbidden
from clipcli.textfiles import tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.expectations import Expectations
    from clipcli.options.classify import CheckOptions
    from clipcli.talk import Talk
    from clipcli.tasks.checks import Tally, Verdict
    from clipcli.tasks.classify import Classification


def parent_name(ref: ImageRef) -> str:
    """The name of the folder an image is in, as in torchvision's ImageFolder; composed, as labels are."""
    return tidy(os.path.basename(os.path.dirname(os.path.abspath(ref.path))))  # noqa: PTH100, PTH119, PTH120


def spoken(name: str) -> str:
    """A folder's name as a person would say it: `red_car` is a red car."""
    return tidy(name.replace("_", " ").replace("-", " "))


@dataclass(frozen=True)
class Expected:
    """Where an image's expected label comes from: one for all, the folder's name, a table; or what it must not be."""

    label: str | None = None
    parent: bool = False
    table: Expectations | None = None
    forbidden: tuple[str, ...] = ()

    def of(self, ref: ImageRef, names: Sequence[str]) -> str | None:
        """The label expected of an image, spelt as the labels are; None when nothing is expected of it."""
        if self.parent:
            return _as_spelt(parent_name(ref), names)
        if self.table is not None:
            row = self.table.match(ref.path)
            return row.label if row else None
        return f"not {' or '.join(self.forbidden)}" if self.forbidden else self.label

    def judge(self, wanted: str, result: Classification, *, multi_label: bool) -> Verdict:
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
    given = {"--expect": check.expect, "--expect-from": check.expect_from, "--forbid": check.forbid}
    asked = [option for option, value in given.items() if value is not None]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} do not go together", hint="give one of them")
    if check.forbid is not None:
        return Expected(forbidden=tuple(dict.fromkeys(check.forbid)))
    if check.expect is not None:
        return Expected(label=check.expect)
    if check.expect_from is None:
        if check.min_accuracy is not None:
            raise UsageError(
                "--min-accuracy needs something to check",
                hint="add --expect LABEL, --expect-from parent|FILE or --forbid LABEL",
            )
        return None
    if check.expect_from == PARENT:
        return Expected(parent=True)
    return Expected(table=parse_expectations(check.expect_from))


def _as_spelt(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    return next((label for label in names if spoken(label).casefold() == spoken(name).casefold()), name)


def say_failure(talk: Talk, image: str, verdict: Verdict, names: Sequence[str]) -> None:
    """One line for an image that fails its check; a newline in its name starts no other. `names` are all answers."""
    if verdict.found_score is None:
        talk.line(f"{printable(image)}: expected {verdict.expected}, but it cannot be read")
        return
    expected = "below the threshold" if verdict.expected in names else "none of the labels"
    if verdict.expected_score is not None:
        expected = f"{verdict.expected_score:.4f}"
    wanted = verdict.expected if verdict.forbidden else f"{verdict.expected} ({expected})"
    found = (
        f"{verdict.found} ({verdict.found_score:.4f})"
        if verdict.found
        else f"no label (best {verdict.found_score:.4f})"
    )
    talk.line(f"{printable(image)}: expected {wanted}, found {found}")


def finding_of(ref: ImageRef, verdict: Verdict) -> Finding:
    """What reports say of an image that was checked."""
    return Finding(
        ref.name, ref.path, verdict.holds, verdict.expected, verdict.found, verdict.expected_score, verdict.found_score
    )


def outcome(tally: Tally) -> str:
    """One sentence on the check as a whole."""
    return (
        f"{tally.right} of {tally.total} images right, "
        f"top-1 {tally.top1:.1%}, top-5 {tally.top5:.1%}, needed {tally.minimum:.1%}"
    )


def say_outcome(talk: Talk, tally: Tally) -> None:
    """The check as a whole: accuracy, what was needed, the worst confusions."""
    talk.line(f"check {'holds' if tally.holds else 'fails'}: {outcome(tally)}")
    for expected, found, count in tally.worst:
        talk.line(f"  {count} × {expected} taken for {found}")
