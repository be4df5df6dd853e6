"""Check the options of `classify` together before a model is loaded."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from clipcli.core.console import RunSummary
from clipcli.errors import LabelsError, UsageError
from clipcli.inputs.collect import STDIN, is_stream, is_words
from clipcli.inputs.expected_labels import PARENT, parse_expectations
from clipcli.inputs.sources.refs import SHARDS, TABLES, TEXT_TABLES, has_suffix
from clipcli.output import CarriedColumns
from clipcli.prompts import Label, labels_of, load_prompts, parse_groups, parse_labels, require_prompts, spoken
from clipcli.prompts.labels import wordnet_labels
from clipcli.runs.classify.expectation_check import ExpectationCheck, is_wordnet_id, parent_name
from clipcli.runs.classify.rows import OWN_COLUMNS
from clipcli.runs.classify.run import ClassifyRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.row_filter import Condition
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.options.shared import CarriedOptions, InputOptions, LabelOptions, ModelOptions
    from clipcli.runs.classify.boxes import BoxesRun
    from clipcli.runs.classify.learned_files import HeadFile, ThresholdFile
    from clipcli.runs.classify.predictors import PredictorRun
    from clipcli.runs.classify.stored_vectors import StoredVectors

_MAY_HOLD_VECTORS: Final = (*TABLES, *TEXT_TABLES, ".npy", ".npz", ".safetensors")


def plan(
    inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions, console: Console,
    *, family: Sequence[ImageRef] | None = None, keep: Sequence[str] = (), where: Condition | None = None,
) -> ClassifyRun:  # fmt: skip
    """Check all options before a model is loaded, and return the run.

    `family` are all images, if these are a part of them; `keep` are columns of tables that rows keep; `where` filters
    rows of tables.

    Raises:
        UsageError: options that do not go together.
        InputsError: no images, or labels, prompts, groups or expectations that cannot be used.
    """
    expected = _parse_expected(check)
    if not (score.groups or score.thresholds or score.head or expected):
        inputs, labels = _arguments_as_labels(inputs, labels, console)
    _refuse_conflicts(inputs, labels, score)
    stored = _stored_vectors(inputs, keep, where)
    refs = _refs(inputs, expected, keep, where, console) if stored is None else stored.refs(expected)
    head, thresholds = _head(score, labels), _thresholds(score.thresholds)
    if head is not None:
        chosen: tuple[Label, ...] = tuple(Label(name, (name,)) for name in head.description.labels)
    else:
        among = refs if family is None else family
        chosen = _group_labels(labels, score) or _labels(labels, expected, among, thresholds)
    prompts = load_prompts(labels.prompts or [])
    require_prompts(chosen, prompts)
    groups = parse_groups(score.groups, chosen) if score.groups else ()
    job = ClassifyRun(
        refs, chosen, prompts, groups, score, expected, RunSummary(console), thresholds=thresholds, head=head,
        stored=stored, carried=CarriedColumns(keep, OWN_COLUMNS),
    )  # fmt: skip
    if score.none in job.answers[:-1]:
        raise UsageError(f"--none {score.none!r} is one of the labels", hint="give it a name that no label has")
    job.tally.minimum = 1.0 if check.min_accuracy is None else check.min_accuracy
    if expected is not None:
        expected.check_names(job.answers)
    if thresholds is not None:
        thresholds.require_texts(chosen, prompts, job.background_texts, multi_label=score.multi_label)
    return job


def plan_command(
    inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions, console: Console,
    *, keep: Sequence[str] = (), where: Condition | None = None,
) -> ClassifyRun | PredictorRun:  # fmt: skip
    """Check the options of the command, and return a run that gives labels or scores of predictors.

    Raises:
        ClipcliError: as `plan`; or an option without effect on predictors.
    """
    if not (score.head or check.lowest or check.highest):
        return plan(inputs, labels, score, check, console, keep=keep, where=where)
    from clipcli.runs.classify.predictors import PredictorRun, parse_limits, read_heads  # few runs have predictors

    heads, predictors = read_heads(score.head or [])
    limits = parse_limits(check.lowest or [], check.highest or [], predictors)
    if not predictors:
        return plan(inputs, labels, score, check, console, keep=keep, where=where)
    if heads:
        raise UsageError("a head of clipcli fit and predictors do not go together", hint="run classify for each")
    ignored = {
        "--labels": labels.labels, "--labels-file": labels.labels_file, "--prompts": labels.prompts,
        "--threshold": score.threshold, "--thresholds": score.thresholds, "--multi-label": score.multi_label,
        "--none": score.none, "--background": score.background, "--similarity": score.similarity,
        "--groups": score.groups, "--expect": check.expect, "--expect-from": check.expect_from,
        "--min-accuracy": check.min_accuracy, "--forbid": check.forbid, "--keep": list(keep),
    }  # fmt: skip
    if set_options := [option for option, value in ignored.items() if value not in (None, False, [])]:
        hint = "predictors give scores, not labels: --min and --max check them"
        raise UsageError(f"{predictors[0].source} is a predictor: {set_options[0]} has no effect", hint=hint)
    stored = _stored_vectors(inputs, (), where)
    refs = _refs(inputs, None, (), where, console) if stored is None else []
    return PredictorRun(refs, predictors, limits, RunSummary(console), stored=stored)


def plan_boxes(
    path: str, inputs: InputOptions, labels: LabelOptions, score: ScoreOptions, check: CheckOptions,
    *, console: Console, carried: CarriedOptions,
) -> BoxesRun:  # fmt: skip
    """Check the options of `--boxes`, whose images are those of the file, and return the run.

    Raises:
        ClipcliError: as `plan`; a file that cannot be used, or an option without effect on boxes.
    """
    from clipcli.runs.classify.boxes import BoxesRun, read_boxes

    ignored = {
        "images": inputs.images, "--files-from": inputs.files_from, "--head": score.head, "--expect": check.expect,
        "--expect-from": check.expect_from, "--forbid": check.forbid, "--min": check.lowest, "--max": check.highest,
        "--keep": carried.keep, "--where": carried.where,
    }  # fmt: skip
    if set_options := [option for option, value in ignored.items() if value]:
        hint = f"the images are those that {path} names"
        raise UsageError(f"--boxes and {set_options[0]} do not go together", hint=hint)
    images = read_boxes(path)
    job = plan(replace(inputs, images=[image.path for image in images]), labels, score, check, console)
    return BoxesRun(images, job)


def model_of_vectors(
    stored: StoredVectors | None, model: ModelOptions, console: Console, *, is_named: bool
) -> ModelOptions:
    """Return the model options, with the model that made the vectors unless the command line names one (`is_named`)."""
    vectors_model = stored.model if stored is not None else None
    if is_named or vectors_model is None or vectors_model == model.model:
        return model
    console.info(f"the vectors were made by {vectors_model}; using it")
    return replace(model, model=vectors_model)


def _arguments_as_labels(
    inputs: InputOptions, labels: LabelOptions, console: Console
) -> tuple[InputOptions, LabelOptions]:
    """Take words after the images as labels if no option gives labels: `classify photos/ cat dog`."""
    arguments = inputs.images or []
    end = next((position for position, argument in enumerate(arguments) if is_words(argument)), len(arguments))
    words = arguments[end:]
    if not words:
        return inputs, labels
    if labels.labels or labels.labels_file:
        hint = f"-l {','.join([*(labels.labels or []), words[0]])}"
        console.info_once(f"{words[0]!r} is no file; if it is a label, separate labels by commas: {hint}")
        return inputs, labels
    if not (end or inputs.files_from) or not all(map(is_words, words)):
        return inputs, labels
    console.info(f"labels: {', '.join(words)} (the same as -l {shlex.quote(','.join(words))})")
    return replace(inputs, images=arguments[:end]), replace(labels, labels=words)


def _stored_vectors(
    inputs: InputOptions, keep: Sequence[str] = (), where: Condition | None = None
) -> StoredVectors | None:
    """Return the files of vectors among the inputs, or None; `keep` are columns that rows should keep.

    Raises:
        UsageError: there are images among the inputs too, or the vectors are of texts.
        VectorsError: a file cannot be used.
    """
    arguments = inputs.images or []
    if inputs.column is not None or not any(has_suffix(path, _MAY_HOLD_VECTORS) for path in arguments):
        return None
    # Imported here, because they take a fifteenth of a start, and most inputs are pictures.
    from clipcli.inputs.sources.text_tables import ALL_COLUMNS
    from clipcli.runs.classify.stored_vectors import StoredVectors
    from clipcli.vectorfiles.vector_formats import is_vector_file, open_vectors

    named = [path for path in arguments if is_vector_file(path)]
    if not named:
        return None
    if len(named) < len(arguments) or inputs.files_from:
        raise UsageError(f"{named[0]} holds vectors, other inputs are images", hint="give them in runs of their own")
    files = [open_vectors(path) for path in named]
    for file in files:
        file.require_columns("--keep", [name for name in keep if name != ALL_COLUMNS])
        if where is not None:
            where.bind(file.column_names)
    if texts := next((file for file in files if file.kind == "text"), None):
        raise UsageError(f"{texts.path} holds vectors of texts", hint="make some of images with clipcli embed")
    return StoredVectors(files, inputs.globs, keep, where)


def _parse_expected(check: CheckOptions) -> ExpectationCheck | None:
    """Return the check of the options, or None.

    Raises:
        UsageError: options that do not go together.
        LabelsError: a table that cannot be used.
    """
    values = {"--expect": check.expect, "--expect-from": check.expect_from, "--forbid": check.forbid}
    options = [option for option, value in values.items() if value is not None]
    if len(options) > 1:
        raise UsageError(f"{options[0]} and {options[1]} do not go together", hint="give one of them")
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


def _thresholds(file: str | None) -> ThresholdFile | None:
    if file is None:
        return None
    from clipcli.runs.classify.learned_files import read_thresholds

    return read_thresholds(file)


def _head(score: ScoreOptions, labels: LabelOptions) -> HeadFile | None:
    """Return the few-shot head, if there is one. Raises UsageError, LabelsError."""
    if not score.head:
        return None
    if len(score.head) > 1:
        raise UsageError("--head can be given once", hint="fit one head for all labels")
    ignored = {
        "--labels": labels.labels, "--labels-file": labels.labels_file, "--prompts": labels.prompts,
        "--thresholds": score.thresholds, "--multi-label": score.multi_label, "--similarity": score.similarity,
        "--background": score.background, "--groups": score.groups,
    }  # fmt: skip
    if set_options := [option for option, value in ignored.items() if value]:
        raise UsageError(
            f"--head and {set_options[0]} do not go together", hint="a head has labels and scores of its own"
        )
    from clipcli.runs.classify.predictors import read_heads

    heads, predictors = read_heads(score.head)
    if predictors:
        raise UsageError(f"{predictors[0].source} is a predictor, not a head of clipcli fit", hint="see docs/heads.md")
    path, head = score.head[0], heads[0]
    if score.none is not None and head.novelty.limit is None:
        hint = "fit it again with at least two pictures of some label"
        raise UsageError(
            f"{path}: this head has no limit for pictures of none of its labels, so --none has no effect", hint=hint
        )
    return head


def _refuse_conflicts(inputs: InputOptions, labels: LabelOptions, score: ScoreOptions) -> None:
    if score.multi_label and (score.similarity or score.groups):
        option = "--similarity" if score.similarity else "--groups"
        raise UsageError(f"--multi-label and {option} do not go together", hint="choose one")
    if score.thresholds and (score.threshold is not None or score.similarity or score.groups or score.none):
        raise UsageError(
            "--thresholds does not go together with --threshold, --similarity, --groups or --none", hint="choose one"
        )
    if score.none is not None and not score.none.strip():
        raise UsageError("--none without a name", hint="--none other")
    if score.background and not (score.none or score.multi_label):
        raise UsageError("--background needs --none NAME or --multi-label", hint="it says what no label looks like")
    piped = is_stream(inputs.images or [], inputs.files_from or [])
    if [piped, STDIN in (labels.labels_file or []), STDIN in (labels.prompts or [])].count(True) > 1:
        raise UsageError("stdin can hold one of images, labels and prompts", hint="give the others in files")


def _refs(
    inputs: InputOptions,
    expected: ExpectationCheck | None,
    keep: Sequence[str],
    where: Condition | None,
    console: Console,
) -> Iterable[ImageRef]:
    """Return the images: those of the inputs, or of the table of expected labels if there are no inputs.

    It is a list if their number can be known; images on stdin, of shards and of tables may be millions and are not
    listed.
    """
    arguments, lists = inputs.images or [], inputs.files_from or []
    if not arguments and not lists and expected is not None and expected.table is not None:
        return [ref for ref in expected.refs() if inputs.globs.takes(ref.name)]
    refs = inputs.collect(console, warn=console.warning, keep=keep, where=where)
    by_folder = expected is not None and expected.parent  # whose names may be the labels
    rows = not by_folder and any(has_suffix(argument, (*SHARDS, *TABLES, *TEXT_TABLES)) for argument in arguments)
    if is_stream(arguments, lists):
        return refs
    return chain(list(islice(refs, 1)), refs) if rows else list(refs)  # a table that cannot be used says so now


def _group_labels(options: LabelOptions, score: ScoreOptions) -> tuple[Label, ...]:
    """Return the labels of the groups if no other option gives labels."""
    alone = score.groups and not (options.labels or options.labels_file or score.thresholds)
    return labels_of(parse_groups(str(score.groups))) if alone else ()


def _labels(
    options: LabelOptions, expected: ExpectationCheck | None, refs: Iterable[ImageRef], thresholds: ThresholdFile | None
) -> tuple[Label, ...]:
    """Return the labels of the options; without any, those of the thresholds, the folders or the table."""
    if thresholds is not None and not (options.labels or options.labels_file):
        return thresholds.known_labels
    if options.labels or options.labels_file or expected is None or expected.label is not None:
        return parse_labels(options.labels or [], options.labels_file or [])
    if expected.table is not None:
        names = dict.fromkeys(label for row in expected.table.rows for label in row.labels)
    elif isinstance(refs, list):
        names = dict.fromkeys(sorted(parent_name(ref) for ref in refs))
        if names and all(map(is_wordnet_id, names)):
            return _imagenet_labels(names)
    else:
        raise UsageError("labels from folders need all images at once", hint="give -l with a list on stdin")
    if any(not name for name in names):
        raise LabelsError("an image lies in a folder without a name", hint="give the labels with -l")
    return tuple(Label(name, (spoken(name),)) for name in names)


def _imagenet_labels(ids: Iterable[str]) -> tuple[Label, ...]:
    """Return the labels of `@imagenet` for folders whose names are WordNet ids.

    Raises:
        LabelsError: an id is none of ImageNet's 1,000.
    """
    known = wordnet_labels()
    missing = [name for name in ids if name not in known]
    if missing:
        why = f"folder {missing[0]}: is none of ImageNet's 1,000 classes"
        raise LabelsError(why, hint="give the labels with -l or --labels-file")
    texts = {label.name: label for label in parse_labels(["@imagenet"], [])}
    return tuple(texts[known[name]] for name in ids)
