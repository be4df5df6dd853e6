"""Every shared option, written once: `Annotated` types in small groups that commands take as one parameter each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.engines.registry import ENGINE_HELP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clipcli.core.console import Console
    from clipcli.images import Rendering
    from clipcli.inputs.sources.globs import Globs
    from clipcli.inputs.sources.refs import ImageRef
    from clipcli.models.choice import Choice
    from clipcli.output import Output
    from clipcli.output.reports import Reporting
    from clipcli.session.session_options import SessionOptions


@dataclass(frozen=True)
class ReportOptions:
    """What CI is told besides the rows."""

    report: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="FILE", help="Also a report: .xml (JUnit), .sarif, .html or .md; repeatable."),
    ] = None
    annotate: Annotated[
        str,
        typer.Option(
            "--annotate", metavar="WHERE", help="Mark images that fail: github, none, or auto (in GitHub Actions)."
        ),
    ] = "auto"

    def parse(self) -> Reporting:
        """These options, checked. Raises UsageError."""
        from clipcli.output.reports import parse_reporting

        return parse_reporting(self.report or [], self.annotate)


_DEFAULT_MODEL = "ViT-B-32-256/datacomp_s34b_b86k"


IncludeOption = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Only names like this; repeatable. As '*.jpg', 'raw' or 'a/raw/*'."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Leave out files and folders with names like this; repeatable."),
]


@dataclass(frozen=True)
class InputOptions:
    """Which images."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Files, folders, URLs, tar shards, Parquet tables, or - for a list of such on stdin.",
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        list[str] | None,
        typer.Option("--files-from", metavar="FILE", help="Also take the paths listed in FILE (or a URL), one a line."),
    ] = None
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Lists of paths, read and written, are NUL-separated."),
    ] = False
    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME", help="Of Parquet tables: which column holds images, or paths of images."
        ),
    ] = None
    include: IncludeOption = None
    exclude: ExcludeOption = None
    no_orient: Annotated[
        bool,
        typer.Option("--no-orient", help="Ignore EXIF orientation, as open_clip's own transform does."),
    ] = False
    background_colour: Annotated[
        str,
        typer.Option(
            "--background", "--background-colour", metavar="COLOUR", help="What shows through transparent parts."
        ),
    ] = "white"
    bare_transform: Annotated[
        bool,
        typer.Option(
            "--bare-transform",
            help="Resize in the file's own mode and drop transparency, as open_clip's bare transform does.",
        ),
    ] = False
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", metavar="N", min=1, help="Refuse images with more pixels than this."),
    ] = None

    @property
    def globs(self) -> Globs:
        """Which names take part."""
        from clipcli.inputs.sources.globs import Globs

        return Globs(tuple(self.include or ()), tuple(self.exclude or ()))

    def collect(
        self, talk: Console, warn: Callable[[str], object] | None = None, *, follows_links: bool = False
    ) -> Iterator[ImageRef]:
        """Return the images of these options; `warn` is told of folders without any. Raises UsageError, InputsError."""
        from clipcli.inputs.collect import collect

        return collect(
            self.images or [], files_from=self.files_from or [], null=self.null, column=self.column, globs=self.globs,
            follows_links=follows_links, warn=warn, detail=talk.detail_once,
        )  # fmt: skip

    def rendering(self) -> Rendering:
        """How pixels of any mode become RGB. Raises UsageError."""
        from clipcli.images.colour_modes import Rendering, parse_colour

        return Rendering(parse_colour(self.background_colour), self.bare_transform)


@dataclass(frozen=True)
class LabelledInputOptions(InputOptions):
    """Which images."""

    background_colour: Annotated[
        str,
        typer.Option(  # where --background is what none of the labels looks like
            "--background-colour", metavar="COLOUR", help="What shows through transparent parts of images."
        ),
    ] = "white"


LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", "-l", metavar="A,B,...", help="Labels, comma-separated; @imagenet is a named set."),
]
LabelsFileOption = Annotated[
    list[str] | None,
    typer.Option("--labels-file", metavar="FILE", help="Labels, one a line; 'name: phrase; phrase' gives synonyms."),
]


@dataclass(frozen=True)
class LabelOptions:
    """Which labels, and the prompts they are put into."""

    labels: LabelsOption = None
    labels_file: LabelsFileOption = None
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts", "-p", metavar="NAME|FILE",
            help="Templates the labels are put into: a set (clipcli prompts list) or a file; sets are joined.",
            show_default="photo",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it runs."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", envvar="CLIPCLI_MODEL",
            help="ARCH/TAG, hf-hub:org/name, local-dir:PATH, ARCH@FILE, a bundle, or tiny, fast, balanced, best.",
        ),
    ] = _DEFAULT_MODEL  # fmt: skip
    device: Annotated[
        str,
        typer.Option("--device", metavar="DEVICE", envvar="CLIPCLI_DEVICE", help="auto, cpu, cuda, cuda:N or mps."),
    ] = "auto"
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="PRECISION", envvar="CLIPCLI_PRECISION", help="auto, fp32, fp16 or bf16."),
    ] = "auto"
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="ENGINE", envvar="CLIPCLI_ENGINE", help=ENGINE_HELP),
    ] = "auto"
    offline: Annotated[bool, typer.Option("--offline", envvar="CLIPCLI_OFFLINE", help="Never use the network.")] = False
    cache_dir: Annotated[
        str | None,
        typer.Option("--cache-dir", metavar="DIR", help="Keep downloaded weights here instead of the hub's cache."),
    ] = None

    def choice(self) -> Choice:
        """These options, checked. Raises UsageError."""
        from clipcli.models.choice import parse_choice

        return parse_choice(
            self.model, self.device, self.precision, self.engine, offline=self.offline, cache_dir=self.cache_dir
        )


def _default_format(context: typer.Context, value: str) -> str:
    """A format from the environment or a file gives way to `--paths`, and to `-o FILE`, whose suffix says it."""
    source = context.get_parameter_source("format")
    given = source is not None and source.name == "COMMANDLINE"
    return "auto" if not given and (context.params.get("output") or context.params.get("paths")) else value


@dataclass(frozen=True)
class TableOptions:
    """Where the rows go."""

    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT", callback=_default_format,
            help="auto, table, tsv, csv, jsonl or json; auto is a table on a terminal and TSV in a pipe.",
        ),
    ] = "auto"  # fmt: skip
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE or a URL (s3://…), whole or not at all; its suffix is the format.",
        ),
    ] = None

    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas", help="In CSV and TSV: put ' before cells that a spreadsheet would take for a formula."
        ),
    ] = False

    def parse_table(self) -> Output:
        """These options, checked. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(self.format, self.output, escape_formulas=self.escape_formulas)


@dataclass(frozen=True)
class OutputOptions(TableOptions):
    """Where the rows go."""

    paths: Annotated[bool, typer.Option("--paths", help="Write bare paths instead of rows.")] = False

    def parse(self, *, null: bool) -> Output:
        """These options, checked. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(self.format, self.output, paths=self.paths, null=null, escape_formulas=self.escape_formulas)


QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress and no notes; failures are still named."),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say which model runs where, and how long it took."),
]


@dataclass(frozen=True)
class TalkOptions:
    """What is said."""

    quiet: QuietOption = False
    verbose: VerboseOption = False

    def talk(self) -> Console:
        """The voice on stderr."""
        from clipcli.core.console import Console

        return Console(quiet=self.quiet, verbose=self.verbose)


@dataclass(frozen=True)
class RunOptions:
    """How much at once, what is kept, what is said."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", min=1, envvar="CLIPCLI_BATCH_SIZE", help="Images a step; chosen by device."
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, envvar="CLIPCLI_WORKERS", help="Threads that read and decode; one a core."
        ),
    ] = None
    fast_decode: Annotated[
        bool,
        typer.Option("--fast-decode", help="Let the JPEG decoder shrink large photos: faster, not quite equal."),
    ] = False
    gpu_decode: Annotated[
        bool,
        typer.Option("--gpu-decode", help="Decode JPEGs on a CUDA GPU: faster for large photos, not quite equal."),
    ] = False
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", envvar="CLIPCLI_NO_CACHE", help="Neither use nor keep vectors of earlier runs."),
    ] = False
    refresh: Annotated[bool, typer.Option("--refresh", help="Compute every vector anew and keep it.")] = False
    quiet: QuietOption = False
    verbose: VerboseOption = False

    def talk(self) -> Console:
        """The voice on stderr."""
        return TalkOptions(self.quiet, self.verbose).talk()

    def session(self, inputs: InputOptions | None = None) -> SessionOptions:
        """What a session needs of these and of the input options. Raises UsageError."""
        from clipcli.errors import UsageError
        from clipcli.images import ON_WHITE
        from clipcli.session.session_options import SessionOptions

        if self.fast_decode and self.gpu_decode:
            raise UsageError("--fast-decode and --gpu-decode are two ways to the same end", hint="choose one")
        return SessionOptions(
            batch_size=self.batch_size,
            workers=self.workers,
            orient=not (inputs and inputs.no_orient),
            rendering=inputs.rendering() if inputs else ON_WHITE,
            max_pixels=inputs.max_pixels if inputs else None,
            use_cache=not self.no_cache,
            refresh=self.refresh,
            fast_decode=self.fast_decode,
            gpu_decode=self.gpu_decode,
        )
