"""One run of `select`: rows are read and chosen, then their samples are copied whole and in order."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.errors import ExitCode, ImageError, InputsError, UsageError
from clipcli.inputs.collect import ImageRef
from clipcli.inputs.sources.patterns import named_files, names_of
from clipcli.inputs.sources.refs import SHARDS, has_suffix
from clipcli.output import open_writer
from clipcli.runs.select.rows import ChosenRows, RowReader, SelectedRow, archive_key
from clipcli.runs.select.samples import FolderCopies, open_shards, sample_of_file, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.core.console import RunSummary
    from clipcli.options.select import SampleOptions
    from clipcli.output import Output
    from clipcli.runs.select.rows import RowConditions
    from clipcli.runs.select.samples import Sample, SampleWriter, ShardNames

_NAMED: Final = 5
"""Lost images that are named; further ones are counted."""


@dataclass
class SelectRun:
    """One run, ready to go."""

    files: Sequence[str]
    conditions: RowConditions
    samples: SampleOptions
    shards: ShardNames | None
    """Tar files to write."""
    output: Output | None
    """The output of rows, if no samples are written."""
    report: RunSummary
    _chosen_rows: int = 0
    _extra: int = 0
    """Images that were not chosen, but belong to the samples of others."""
    _lost: int = 0
    _named: int = field(default=0, repr=False)

    def carry_out(self) -> ExitCode:
        """Write the rows or samples, print the summary, and return the exit code.

        Raises:
            ClipcliError: rows that cannot be read, or an output that cannot be written.
        """
        reader = RowReader(self.conditions, self.report)
        with closing(ChosenRows()) as chosen:
            if self.output is not None and self.conditions.top_share is None:
                with open_writer(self.output, header=True) as writer:
                    for row, _ in reader.rows(self.files):
                        self.report.ok()
                        writer.write(row)
            else:
                for row, score in reader.rows(self.files):
                    chosen.add(row, score, keep_row=self.output is not None)
                if self.conditions.top_share is not None:
                    chosen.keep_best(self.conditions.top_share)
                self._chosen_rows = chosen.finish()
                self._write(chosen)
        if not reader.read:
            raise InputsError(
                "no rows in the inputs", hint="rows of another command: -o scores.jsonl, .csv or .parquet"
            )
        return self._finish(reader)

    def _write(self, chosen: ChosenRows) -> None:
        if self.output is not None:
            with open_writer(self.output, header=True) as writer:
                for image, columns, fields in chosen.whole_rows():
                    self.report.ok()
                    writer.write(SelectedRow(image, columns, fields))
            return
        if not chosen.rows:
            raise InputsError("no row passes, so there is nothing to copy", hint="a lower --min-score, another --where")
        with self._open_samples() as samples, self.report.console.progress(None, "sample") as advance:
            for sample, images in self._samples(chosen):
                try:
                    samples.write(sample.whole())
                except ImageError as error:
                    self._lose(images, error.reason)
                else:
                    self.report.done += len(images)
                advance(1)
        self._print_written(samples)

    @contextmanager
    def _open_samples(self) -> Iterator[SampleWriter]:
        if self.shards is None:
            yield FolderCopies(str(self.samples.copy_to))
        else:
            with open_shards(self.shards, self.samples.per_shard) as shards:
                yield shards

    def _samples(self, chosen: ChosenRows) -> Iterator[tuple[Sample, list[str]]]:
        """Yield the samples of chosen images, with the full names of these images; missing ones are reported."""
        archives, folders = self._sources(chosen)
        read_archives: set[str] = set()
        for archive in archives:
            key = archive_key(archive)
            members = chosen.members(key) if key not in read_archives else set()
            read_archives.add(key)
            if members:
                yield from self._of_archive(archive, members)
        for archive in chosen.holders():
            if (key := archive_key(archive)) not in read_archives:
                reason = (
                    "--from does not name it" if has_suffix(archive, SHARDS) else "an image in a table is not a sample"
                )
                self._lose([f"{archive}/{member}" for member in sorted(chosen.members(key))], reason)
        for file in chosen.files():
            path = next((name for name in _candidates(file, folders) if os.path.isfile(name)), file)  # noqa: PTH113
            yield sample_of_file(path), [file]

    def _of_archive(self, archive: str, members: set[str]) -> Iterator[tuple[Sample, list[str]]]:
        missing = set(members)
        for sample in samples_of(archive, last_dot=self.samples.last_dot):
            if images := [name for name in sample.names if name in members]:
                missing.difference_update(images)
                self._extra += len(sample.images) - len(images)
                yield sample, [f"{archive}/{name}" for name in images]
            elif not sample.members and sample.problem:
                self.report.console.line(f"{printable(redact(archive))}: {sample.problem}")
        self._lose([f"{archive}/{name}" for name in sorted(missing)], "no such member")

    def _sources(self, chosen: ChosenRows) -> tuple[list[str], list[str]]:
        """Return the archives to look into, and folders for files. Raises InputsError."""
        if not self.samples.sources:
            return [name for name in chosen.holders() if has_suffix(name, SHARDS)], []
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

    def _lose(self, images: Sequence[str], reason: str) -> None:
        """Count images that cannot be read; the first ones are named."""
        self._lost += len(images)
        self.report.failed += len(images)
        for image in images:
            self._named += 1
            if self._named <= _NAMED:
                self.report.console.line(f"{printable(redact(image))}: {reason}")
            elif self._named == _NAMED + 1:
                self.report.console.line("further images that cannot be copied are only counted")

    def _print_written(self, writer: SampleWriter) -> None:
        report = self.report
        report.console.info(f"wrote {writer.files:,} files for {report.done:,} images: {writer.words}")
        if renamed := getattr(writer, "renamed", 0):
            report.console.info(f"samples with a repeated name, each in a folder named after its shard: {renamed:,}")
        if self._extra:
            report.console.info(
                f"{self._extra:,} other images of the same samples were written too (--last-dot separates them)"
            )

    def _finish(self, reader: RowReader) -> ExitCode:
        console, report = self.report.console, self.report
        rows = report.done if self.output is not None else self._chosen_rows
        errors = f"; rows of failed inputs left out: {reader.errors:,}" if reader.errors else ""
        console.info(f"{rows:,} of {reader.read:,} rows chosen{errors}")
        if self._lost:
            console.line(f"incomplete: {self._lost:,} of {self._lost + report.done:,} images could not be copied")
        return report.exit_code


def _candidates(file: str, folders: Sequence[str]) -> list[str]:
    return [file, *(os.path.join(folder, file) for folder in folders)]  # noqa: PTH118 - any bytes
