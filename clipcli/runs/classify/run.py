"""One run of `classify`: what was asked, checked as a whole, and then image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from clipcli.errors import ExitCode
from clipcli.output import ErrorRow
from clipcli.output.reports import CheckReport, Finding, Reporting
from clipcli.prompts import Label, expand, load_prompts
from clipcli.runs.classify.expectation_check import (
    ExpectationCheck,
    finding_of,
    outcome,
    say_failure,
    say_outcome,
    say_unmatched,
)
from clipcli.runs.classify.rows import ClassifiedRow
from clipcli.tasks.accuracy import Tally, joined, unreadable
from clipcli.tasks.classify import Classifier, LabelBin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.core.run_summary import RunSummary
    from clipcli.inputs.collect import ImageRef
    from clipcli.options.classify import ScoreOptions
    from clipcli.prompts import LabelGroup, PromptSet
    from clipcli.runs.base import Advance
    from clipcli.runs.classify.head_file import HeadFile
    from clipcli.runs.classify.threshold_file import ThresholdFile
    from clipcli.session.pipeline import Embedded
    from clipcli.session.session import Session
    from clipcli.tasks.classify import Meaning
    from clipcli.tasks.fit import HeadClassifier

BACKGROUND = ("something", "a background", "an object", "a scene", "a texture", "a blurry picture", "an empty picture")
"""What a picture of nothing in particular is called, where `--background` says nothing else."""
_OWN_HEAD, _AGAINST_BACKGROUND = "the model's own sigmoid head", "each label against the background prompts"


@dataclass
class ClassifyRun:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    labels: Sequence[Label]
    prompts: PromptSet
    groups: Sequence[LabelGroup]
    score: ScoreOptions
    expected: ExpectationCheck | None
    report: RunSummary
    tally: Tally = field(default_factory=Tally)
    name: str = "classify"
    """What reports call this run."""
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    thresholds: ThresholdFile | None = None
    head: HeadFile | None = None
    """What was learnt from pictures, in place of the labels' texts."""

    unit: ClassVar[str] = "image"

    @property
    def total(self) -> int | None:
        """How many images there are; None for a list that is still coming."""
        return len(self.refs) if isinstance(self.refs, list) else None

    @property
    def answers(self) -> list[str]:
        """Every label that an image can get."""
        grouped = {name for group in self.groups for name in group.labels}
        alone = [label.name for label in self.labels if label.name not in grouped]
        none = [self.score.none] if self.score.none else []
        return [*(group.name for group in self.groups), *alone, *none]

    def rows(self, session: Session, advance: Advance) -> Iterator[ClassifiedRow | ErrorRow]:
        """Yield one row per image, in input order."""
        classifier = self._head_classifier(session) or self.classifier(session)
        self._explain(classifier)
        for embedded in session.embed_images(self.refs):
            advance(1)
            wanted = self.expected.of(embedded.ref, self.answers) if self.expected else ()
            if embedded.error is not None:
                self.report.fail(embedded.ref.name, embedded.error)
                if wanted:
                    self.tally.add(unreadable(wanted))
                reason = f"{embedded.error.reason} ({embedded.error.stage})"
                self._note(
                    Finding(
                        embedded.ref.name, embedded.ref.path, ok=False, expected=joined(wanted) or None, error=reason
                    )
                )
                yield ErrorRow.of(embedded.ref.name, embedded.error)
            else:
                self.report.ok()
                yield self._row(embedded, classifier, wanted)

    def finish(self, session: Session) -> ExitCode:
        """Say how it went, write the reports, and return the exit code."""
        self.report.summarise()
        if self.expected is not None:
            say_unmatched(self.report.talk, self.expected)
            say_outcome(self.report.talk, self.tally)
        self.reporting.write([self.check_report(session.info.name)])
        return self.exit_code

    @property
    def exit_code(self) -> ExitCode:
        """A check that does not hold weighs most."""
        fails = self.expected is not None and not self.tally.holds
        return ExitCode.CHECK_FAILED if fails else self.report.exit_code

    def check_report(self, model: str) -> CheckReport:
        """Everything found; without an expectation, an image only has to be readable."""
        if self.expected is not None:
            return CheckReport(self.name, tuple(self.findings), self.tally.holds, outcome(self.tally), model)
        report = self.report
        said = f"{report.done} of {report.done + report.failed} images labelled, nothing was expected of them"
        return CheckReport(self.name, tuple(self.findings), not report.failed, said, model)

    def _note(self, finding: Finding) -> None:
        if self.reporting.needs(ok=finding.ok):
            self.findings.append(finding)

    def _row(self, embedded: Embedded, classifier: Classifier | HeadClassifier, wanted: Sequence[str]) -> ClassifiedRow:
        assert embedded.vector is not None  # noqa: S101 - no error means a vector
        result = classifier.classify(embedded.vector)
        shown = result.ranked[: self.score.top_k] if self.score.top_k else result.ranked
        if classifier.multi_label and self.score.top_k == 1:
            shown = result.ranked
        holds = None
        if not wanted or self.expected is None:
            self._note(
                Finding(embedded.ref.name, embedded.ref.path, ok=True, found=result.label, found_score=result.score)
            )
        else:
            verdict = self.expected.judge(wanted, result, multi_label=classifier.multi_label)
            self._note(finding_of(embedded.ref, verdict))
            self.tally.add(verdict)
            holds = verdict.holds
            if not holds:
                say_failure(self.report.talk, embedded.ref.name, verdict, self.answers)
        return ClassifiedRow(
            embedded.ref.name, result.label, result.score, shown, joined(wanted) or None, holds,
            checked=self.expected is not None, multi_label=classifier.multi_label,
        )  # fmt: skip

    @property
    def background_texts(self) -> tuple[str, ...]:
        """What independent scores are held against."""
        return expand(*self._background) if self.score.multi_label else ()

    @property
    def _background(self) -> tuple[Label, PromptSet]:
        phrases = tuple(self.score.background or BACKGROUND)
        return Label("background", phrases), self.prompts if self.prompts.templates else load_prompts(["plain"])

    def classifier(self, session: Session) -> Classifier:
        """The labels as the session's model has them. Raises ModelError for thresholds of another one."""
        meaning: Meaning = session.scoring.activation
        if self.score.similarity:
            meaning = "cosine"
        elif self.score.multi_label and meaning == "softmax":
            meaning = "background"
        background = None
        if self.score.none or meaning == "background":
            label, prompts = self._background
            background = session.embed_labels([label], prompts)[0]
        names = tuple(label.name for label in self.labels)
        bins = tuple(LabelBin(group.name, tuple(names.index(name) for name in group.labels)) for group in self.groups)
        scoring, limits = session.scoring, None
        if self.thresholds is not None:
            self.thresholds.require_model(session.info)
            scoring, limits = self.thresholds.cooled(scoring), self.thresholds.by_label
        return Classifier(
            names, session.embed_labels(self.labels, self.prompts), scoring, meaning, background,
            self.score.none, self.score.threshold, self.score.multi_label, bins, limits,
        )  # fmt: skip

    def _head_classifier(self, session: Session) -> HeadClassifier | None:
        """The head as a classifier, if there is one. Raises ModelError for one of another model."""
        if self.head is None:
            return None
        self.head.require_model(session.info)
        return self.head.classifier(self.score.none, self.score.threshold)

    def _explain(self, classifier: Classifier | HeadClassifier) -> None:
        talk = self.report.talk
        if classifier.meaning == "softmax" and len(self.answers) == 1:
            talk.warn("one label alone always scores 1; add labels, or use --none, --multi-label or --similarity")
        if classifier.multi_label:
            own = classifier.meaning == "sigmoid"
            talk.note(f"independent scores: {_OWN_HEAD if own else _AGAINST_BACKGROUND}")
