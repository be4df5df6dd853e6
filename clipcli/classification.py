"""One run of `classify`: what was asked, checked as a whole, and then image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipcli.checking import (
    Expected,
    finding_of,
    outcome,
    parent_name,
    parse_expected,
    say_failure,
    say_outcome,
    spoken,
)
from clipcli.errors import ExitCode, LabelsError, UsageError
from clipcli.inputs import STDIN, collect, is_stream
from clipcli.output import ErrorRow
from clipcli.output.classified import ClassifiedRow
from clipcli.prompts import Label, expand, load_prompts, parse_groups, parse_labels, require_prompts
from clipcli.report import Report
from clipcli.reports import CheckReport, Finding, Reporting
from clipcli.tasks.checks import Tally, unreadable
from clipcli.tasks.classify import Classifier, LabelBin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.commands.classify import CheckOptions, ScoreOptions
    from clipcli.inputs import ImageRef
    from clipcli.options import InputOptions, LabelOptions
    from clipcli.pipeline import Embedded
    from clipcli.prompts import Group, PromptSet
    from clipcli.session import Session
    from clipcli.talk import Talk
    from clipcli.tasks.classify import Meaning
    from clipcli.thresholdfile import Thresholds

BACKGROUND = ("something", "a background", "an object", "a scene", "a texture", "a blurry picture", "an empty picture")
"""What a picture of nothing in particular is called, where `--background` says nothing else."""
_OWN_HEAD, _AGAINST_BACKGROUND = "the model's own sigmoid head", "each label against the background prompts"


def plan(
    inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions, talk: Talk,
    *, family: Sequence[ImageRef] | None = None,
) -> Classification:  # fmt: skip
    """Check everything that was asked before a model is touched; `family` are images that these are a part of.

    Raises:
        UsageError: options that do not go together.
        InputsError: no images, or labels, prompts, groups or expectations that cannot be used.
    """
    _refuse_conflicts(inputs, labels, score)
    expected = parse_expected(check)
    refs = _refs(inputs, expected, talk)
    thresholds = _thresholds(score.thresholds)
    chosen = _labels(labels, expected, refs if family is None else family, thresholds)
    prompts = load_prompts(labels.prompts or [])
    require_prompts(chosen, prompts)
    groups = parse_groups(score.groups, chosen) if score.groups else ()
    job = Classification(refs, chosen, prompts, groups, score, expected, Report(talk), thresholds=thresholds)
    if score.none in job.answers[:-1]:
        raise UsageError(f"--none {score.none!r} is one of the labels", hint="give it a name that no label has")
    job.tally.minimum = 1.0 if check.min_accuracy is None else check.min_accuracy
    if expected is not None:
        expected.check_names(job.answers)
    if thresholds is not None:
        thresholds.require_texts(chosen, prompts, job.background_texts, multi_label=score.multi_label)
    return job


def _thresholds(file: str | None) -> Thresholds | None:
    if file is None:
        return None
    from clipcli.thresholdfile import read_thresholds

    return read_thresholds(file)


def _refuse_conflicts(inputs: InputOptions, labels: LabelOptions, score: ScoreOptions) -> None:
    if score.multi_label and (score.similarity or score.groups):
        other = "--similarity" if score.similarity else "--groups"
        raise UsageError(f"--multi-label and {other} do not go together", hint="choose one")
    if score.thresholds and (score.threshold is not None or score.similarity or score.groups or score.none):
        raise UsageError("--thresholds goes without --threshold, --similarity, --groups and --none", hint="choose one")
    if score.none is not None and not score.none.strip():
        raise UsageError("--none without a name", hint="--none other")
    if score.background and not (score.none or score.multi_label):
        raise UsageError("--background needs --none NAME or --multi-label", hint="it says what no label looks like")
    piped = is_stream(inputs.images or [], inputs.files_from or [])
    if [piped, STDIN in (labels.labels_file or []), STDIN in (labels.prompts or [])].count(True) > 1:
        raise UsageError("stdin can hold one of images, labels and prompts", hint="give the others in files")


def _refs(inputs: InputOptions, expected: Expected | None, talk: Talk) -> Iterable[ImageRef]:
    """A list wherever its length can be known beforehand; the images of a table when no others are named."""
    arguments, lists = inputs.images or [], inputs.files_from or []
    if not arguments and not lists and expected is not None and expected.table is not None:
        return expected.refs()
    refs = collect(arguments, files_from=lists, null=inputs.null, column=inputs.column, warn=talk.warn)
    return refs if is_stream(arguments, lists) else list(refs)


def _labels(
    options: LabelOptions, expected: Expected | None, refs: Iterable[ImageRef], thresholds: Thresholds | None
) -> tuple[Label, ...]:
    """The labels given; without any, those of the thresholds, or those expected: the folders' names or the table's."""
    if thresholds is not None and not (options.labels or options.labels_file):
        return thresholds.known_labels
    if options.labels or options.labels_file or expected is None or expected.label is not None:
        return parse_labels(options.labels or [], options.labels_file or [])
    if expected.table is not None:
        names = dict.fromkeys(row.label for row in expected.table.rows)
    elif isinstance(refs, list):
        names = dict.fromkeys(sorted(parent_name(ref) for ref in refs))
    else:
        raise UsageError("labels from folders need all images at once", hint="give -l with a list on stdin")
    if any(not spoken(name) for name in names):
        raise LabelsError("an image lies in a folder without a name", hint="give the labels with -l")
    return tuple(Label(name, (spoken(name),)) for name in names)


@dataclass
class Classification:
    """One run, ready to go."""

    refs: Iterable[ImageRef]
    labels: Sequence[Label]
    prompts: PromptSet
    groups: Sequence[Group]
    score: ScoreOptions
    expected: Expected | None
    report: Report
    tally: Tally = field(default_factory=Tally)
    name: str = "classify"
    """What reports call this run."""
    reporting: Reporting = field(default_factory=Reporting)
    findings: list[Finding] = field(default_factory=list)
    thresholds: Thresholds | None = None

    @property
    def expected_images(self) -> int | None:
        """How many images there are; None for a list that is still coming."""
        return len(self.refs) if isinstance(self.refs, list) else None

    @property
    def answers(self) -> list[str]:
        """Every label that an image can get."""
        grouped = {name for group in self.groups for name in group.labels}
        alone = [label.name for label in self.labels if label.name not in grouped]
        none = [self.score.none] if self.score.none else []
        return [*(group.name for group in self.groups), *alone, *none]

    def rows(self, session: Session) -> Iterator[ClassifiedRow | ErrorRow]:
        """A row an image, in input order; failures are rows too, and are counted and named on the way."""
        classifier = self.classifier(session)
        self._explain(classifier)
        for embedded in session.embed_images(self.refs):
            wanted = self.expected.of(embedded.ref, self.answers) if self.expected else None
            if embedded.error is not None:
                self.report.fail(embedded.ref.name, embedded.error)
                if wanted is not None:
                    self.tally.add(unreadable(wanted))
                reason = f"{embedded.error.reason} ({embedded.error.stage})"
                self._note(Finding(embedded.ref.name, embedded.ref.path, ok=False, expected=wanted, error=reason))
                yield ErrorRow.of(embedded.ref.name, embedded.error)
            else:
                self.report.ok()
                yield self._row(embedded, classifier, wanted)

    def conclude(self, model: str) -> ExitCode:
        """Say how it went, write the reports; the exit code."""
        self.report.summarise()
        if self.expected is not None:
            say_outcome(self.report.talk, self.tally)
        self.reporting.write([self.check_report(model)])
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

    def _row(self, embedded: Embedded, classifier: Classifier, wanted: str | None) -> ClassifiedRow:
        assert embedded.vector is not None  # noqa: S101 - no error means a vector
        result = classifier.classify(embedded.vector)
        shown = result.ranked[: self.score.top_k] if self.score.top_k else result.ranked
        if classifier.multi_label and self.score.top_k == 1:
            shown = result.ranked
        holds = None
        if wanted is None or self.expected is None:
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
            embedded.ref.name, result.label, result.score, shown, wanted, holds,
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

    def _explain(self, classifier: Classifier) -> None:
        talk = self.report.talk
        if classifier.meaning == "softmax" and len(self.answers) == 1:
            talk.warn("one label alone always scores 1; add labels, or use --none, --multi-label or --similarity")
        if classifier.multi_label:
            own = classifier.meaning == "sigmoid"
            talk.note(f"independent scores: {_OWN_HEAD if own else _AGAINST_BACKGROUND}")
