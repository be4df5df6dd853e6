"""One run of `select`: rows are read and chosen, then their samples are copied whole and in order."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from clipcli.core.console import RunSummary, printable
from clipcli.core.redaction import redact
from clipcli.errors import ExitCode, ImageError, InputsError, UsageError
from clipcli.inputs.collect import STDIN, ImageRef
from clipcli.inputs.sources.patterns import named_files, names_of
from clipcli.inputs.sources.refs import SHARDS, has_suffix
from clipcli.output import open_writer
from clipcli.runs.select.rows import RowReader, RowWishes, SelectedRow, check_wishes
from clipcli.runs.select.sample_writer import FolderCopies, ShardNames, open_shards, parse_shard_names
from clipcli.runs.select.samples import sample_of_file, samples_of
from clipcli.runs.select.wanted import WantedImages, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.options.select import RowOptions, SampleOptions, SelectOutputOptions
    from clipcli.output import Output
    from clipcli.runs.select.sample_writer import SampleWriter
    from clipcli.runs.select.samples import Sample

_NAMED: Final = 5


def plan(rows: RowOptions, samples: SampleOptions, out: SelectOutputOptions, console: Console) -> SelectRun:
    """Check everything that was asked before a row is read.

    Raises:
        UsageError: options that do not go together, or a condition that is none.
        InputsError: a package is missing.
    """
    from clipcli.inputs.row_filter import parse_condition

    if not rows.rows:
        raise UsageError("no rows given", hint="clipcli select scores.parquet --min-score 0.28 -o kept.tar")
    if rows.rows.count(STDIN) > 1:
        raise UsageError("stdin can be read only once", hint="give - once")
    wishes = RowWishes(rows.column, rows.by or "score", rows.min_score, rows.top_share, parse_condition(rows.where))
    check_wishes(wishes, by=rows.by)
    shards = parse_shard_names(out.output)
    if shards is not None and samples.copy_to is not None:
        raise UsageError("-o SHARDS and --copy-to do not go together", hint="run select for each")
    if shards is None and samples.copy_to is None and samples.sources:
        raise UsageError("--from needs a place for samples", hint="-o 'kept/{:05d}.tar' or --copy-to FOLDER")
    if samples.copy_to is not None and out.output is not None:
        raise UsageError("--copy-to writes no rows", hint="leave out -o, or run select for each")
    output = None if shards is not None or samples.copy_to is not None else out.parse(null=out.null)
    return SelectRun(rows.rows, wishes, samples, shards, output, RunSummary(console))


@dataclass
class SelectRun:
    """One run, ready to go."""

    files: Sequence[str]
    wishes: RowWishes
    samples: SampleOptions
    shards: ShardNames | None
    """Tar files to write."""
    output: Output | None
    """Rows to write, where no samples are."""
    report: RunSummary
    _chosen: int = 0
    _along: int = 0
    """Images that came with samples of others."""
    _lost: int = 0
    _named: int = field(default=0, repr=False)

    def carry_out(self) -> ExitCode:
        """Do it, say how it went, and return the exit code.

        Raises:
            ClipcliError: rows that cannot be read, or a place that cannot be written.
        """
        reader = RowReader(self.wishes, self.report)
        with closing(WantedImages()) as wanted:
            if self.output is not None and self.wishes.top_share is None:
                with open_writer(self.output, header=True) as writer:
                    for row, _ in reader.rows(self.files):
                        self.report.ok()
                        writer.write(row)
            else:
                for row, score in reader.rows(self.files):
                    wanted.add(row, score, keep_row=self.output is not None)
                if self.wishes.top_share is not None:
                    wanted.keep_best(self.wishes.top_share)
                self._chosen = wanted.finish()
                self._write(wanted)
        if not reader.read:
            raise InputsError(
                "no rows in the inputs", hint="rows of another command: -o scores.jsonl, .csv or .parquet"
            )
        return self._finish(reader)

    def _write(self, wanted: WantedImages) -> None:
        if self.output is not None:
            with open_writer(self.output, header=True) as writer:
                for image, columns, fields in wanted.whole_rows():
                    self.report.ok()
                    writer.write(SelectedRow(image, columns, fields))
            return
        if not wanted.rows:
            raise InputsError("no row passes, so there is nothing to copy", hint="a lower --min-score, another --where")
        with self._open_samples() as samples, self.report.console.progress(None, "sample") as advance:
            for sample, images in self._samples(wanted):
                try:
                    samples.write(sample.whole())
                except ImageError as error:
                    self._lose(images, error.reason)
                else:
                    self.report.done += len(images)
                advance(1)
        self._say_written(samples)

    @contextmanager
    def _open_samples(self) -> Iterator[SampleWriter]:
        if self.shards is None:
            yield FolderCopies(str(self.samples.copy_to))
        else:
            with open_shards(self.shards, self.samples.per_shard) as shards:
                yield shards

    def _samples(self, wanted: WantedImages) -> Iterator[tuple[Sample, list[str]]]:
        """Yield the samples of images that are wanted, with the full names of these images; say which are not there."""
        archives, folders = self._sources(wanted)
        done: set[str] = set()
        for archive in archives:
            place = place_of(archive)
            members = wanted.members(place) if place not in done else set()
            done.add(place)
            if members:
                yield from self._of_archive(archive, members)
        for archive in wanted.holders():
            if (place := place_of(archive)) not in done:
                why = "--from does not name it" if has_suffix(archive, SHARDS) else "a row of a table is no sample"
                self._lose([f"{archive}/{member}" for member in sorted(wanted.members(place))], why)
        for file in wanted.files():
            path = next((name for name in _candidates(file, folders) if os.path.isfile(name)), file)  # noqa: PTH113
            yield sample_of_file(path), [file]

    def _of_archive(self, archive: str, members: set[str]) -> Iterator[tuple[Sample, list[str]]]:
        missing = set(members)
        for sample in samples_of(archive, last_dot=self.samples.last_dot):
            if images := [name for name in sample.names if name in members]:
                missing.difference_update(images)
                self._along += len(sample.images) - len(images)
                yield sample, [f"{archive}/{name}" for name in images]
            elif not sample.members and sample.problem:
                self.report.console.line(f"{printable(redact(archive))}: {sample.problem}")
        self._lose([f"{archive}/{name}" for name in sorted(missing)], "no such member")

    def _sources(self, wanted: WantedImages) -> tuple[list[str], list[str]]:
        """Return the archives to look into, and folders for files. Raises InputsError."""
        if not self.samples.sources:
            return [name for name in wanted.holders() if has_suffix(name, SHARDS)], []
        archives, folders = [], []
        for argument in named_files(self.samples.sources):
            for name in names_of(argument):
                if isinstance(name, ImageRef):
                    raise InputsError(f"--from {name.name}: {name.problem}")
                if has_suffix(name, SHARDS):
                    archives.append(name)
                elif os.path.isdir(name):  # noqa: PTH112 - any bytes
                    folders.append(name)
                else:
                    raise UsageError(f"--from {redact(name)}: neither a tar shard nor a folder", hint="'shards/*.tar'")
        return archives, folders

    def _lose(self, images: Sequence[str], why: str) -> None:
        """Count images that were asked for and cannot be had; the first ones are named."""
        self._lost += len(images)
        self.report.failed += len(images)
        for image in images:
            self._named += 1
            if self._named <= _NAMED:
                self.report.console.line(f"{printable(redact(image))}: {why}")
            elif self._named == _NAMED + 1:
                self.report.console.line("further images that cannot be had are counted only")

    def _say_written(self, writer: SampleWriter) -> None:
        report = self.report
        report.console.info(
            f"{report.done:,} images with all that belongs to them, {writer.files:,} files: {writer.words}"
        )
        if renamed := getattr(writer, "renamed", 0):
            report.console.info(
                f"samples with the name of another, written to a folder named after their shard: {renamed:,}"
            )
        if self._along:
            report.console.info(
                f"{self._along:,} other images came along, of the same samples (--last-dot tells them apart)"
            )

    def _finish(self, reader: RowReader) -> ExitCode:
        console, report = self.report.console, self.report
        chosen = report.done if self.output is not None else self._chosen
        errors = f"; rows of failed inputs left out: {reader.errors:,}" if reader.errors else ""
        console.info(f"{chosen:,} of {reader.read:,} rows chosen{errors}")
        if self._lost:
            console.line(
                f"incomplete: {self._lost:,} of {self._lost + report.done:,} images asked for could not be had"
            )
        return report.exit_code


def _candidates(file: str, folders: Sequence[str]) -> list[str]:
    return [file, *(os.path.join(folder, file) for folder in folders)]  # noqa: PTH118 - any bytes
