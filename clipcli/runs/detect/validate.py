"""Check the options of `detect` together before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.core.console import RunSummary
from clipcli.core.files import is_folder
from clipcli.errors import InputsError, UsageError
from clipcli.inputs.collect import is_stream
from clipcli.prompts import load_prompts, parse_labels, require_prompts
from clipcli.runs.detect.boxes_page import BoxesPage
from clipcli.runs.detect.run import CoarseLocator, DetectionQuery, DetectorLocator, DetectRun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.options.detect import DetectOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.session.detector_session import DetectorSession
    from clipcli.session.session import Session


def plan(inputs: InputOptions, labels: LabelOptions, options: DetectOptions, console: Console) -> DetectRun[Session]:
    """Check the options and return a run with any OpenCLIP model, which gives coarse boxes.

    Raises:
        UsageError: no labels, or a folder for crops that cannot be used.
        ClipcliError: images, labels or prompts that cannot be used.
    """
    query = _query(labels, options, labels.prompts or [])
    return DetectRun(
        _refs(inputs, console), query, CoarseLocator(query), RunSummary(console), _folder(options.crops),
        _page(options.report),
    )  # fmt: skip


def plan_detector(
    inputs: InputOptions, labels: LabelOptions, options: DetectOptions, console: Console
) -> DetectRun[DetectorSession]:
    """Check the options and return a run with a detection model; without `--prompts` it gets the bare labels."""
    query = _query(labels, options, labels.prompts or ["plain"])
    return DetectRun(
        _refs(inputs, console), query, DetectorLocator(query), RunSummary(console), _folder(options.crops),
        _page(options.report),
    )  # fmt: skip


def _query(labels: LabelOptions, options: DetectOptions, prompts: list[str]) -> DetectionQuery:
    chosen = parse_labels(labels.labels or [], labels.labels_file or [])
    loaded = load_prompts(prompts)
    require_prompts(chosen, loaded)
    return DetectionQuery(chosen, loaded, options.threshold, options.multi_label)


def _folder(crops: str | None) -> str | None:
    if crops is not None and not is_folder(crops):
        raise UsageError(f"{crops} is not a folder", hint="make the folder for --crops first")
    return crops


def _page(report: str | None) -> BoxesPage | None:
    if report is not None and not report.lower().endswith((".html", ".htm")):
        raise UsageError(f"cannot tell the format of {report}", hint="--report FILE.html")
    return None if report is None else BoxesPage(report)


def _refs(inputs: InputOptions, console: Console) -> Iterable[ImageRef]:
    refs = inputs.collect(console, warn=console.warning)
    listed = refs if is_stream(inputs.images or [], inputs.files_from or []) else list(refs)
    if listed == []:
        raise InputsError("no images given", hint="name files or folders")
    return listed
