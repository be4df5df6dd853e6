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


AnnotateOption = Annotated[
    str,
    typer.Option(
        "--annotate", metavar="WHERE",
        help="Mark failing images in the pull request: github, none, or auto (in GitHub Actions).",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class ReportOptions:
    """Reports."""

    report: Annotated[
        list[str] | None,
        typer.Option(
            "--report", metavar="FILE", help="Write a report: .html, .xml (JUnit), .sarif or .md. Repeatable."
        ),
    ] = None
    annotate: AnnotateOption = "auto"

    def parse(self) -> Reporting:
        """These options, checked. Raises UsageError."""
        from clipcli.output.reports import parse_reporting

        return parse_reporting(self.report or [], self.annotate)


_DEFAULT_MODEL = "ViT-B-32-256/datacomp_s34b_b86k"


IncludeOption = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Only files that match, such as '*.jpg' or 'a/raw/*'. Repeatable."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Skip files and folders that match. Repeatable."),
]
NullOption = Annotated[
    bool, typer.Option("--null", "-0", help="Separate paths with NUL bytes in lists that are read or written.")
]


@dataclass(frozen=True)
class InputOptions:
    """Inputs."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Files, folders, globs, URLs, tar shards or Parquet tables. - reads a list of paths, or one image, "
            "from stdin.",
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        list[str] | None,
        typer.Option("--files-from", metavar="FILE", help="Also read paths, one per line, from FILE or a URL."),
    ] = None
    null: NullOption = False
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="NAME", help="Column of a Parquet table that holds images or image paths."),
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
            "--background-colour", "--background-color", metavar="COLOUR",
            help="Colour behind transparent parts: a name or '#rrggbb'.",
        ),
    ] = "white"  # fmt: skip
    bare_transform: Annotated[
        bool,
        typer.Option(
            "--bare-transform",
            help="Resize in the file's own colour mode and drop transparency, as open_clip's bare transform does.",
        ),
    ] = False
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", metavar="N", min=1, help="Refuse images with more than N pixels."),
    ] = None
    remote_timeout: Annotated[
        str | None,
        typer.Option(
            "--remote-timeout", metavar="SECONDS", envvar="CLIPCLI_REMOTE_TIMEOUT",
            help="Time limit for a request to a URL.", show_default="60",
        ),
    ] = None  # fmt: skip

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


LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", "-l", metavar="A,B,...", help="Labels, separated by commas. @imagenet is a named set."),
]
LabelsFileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labels-file", metavar="FILE", help="Labels, one per line. 'name: phrase; phrase' gives a label synonyms."
    ),
]
PromptsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompts", "-p", metavar="NAME|FILE",
        help="Prompt templates: a set (see clipcli prompts list) or a file. Repeatable.",
        show_default="photo",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class LabelOptions:
    """Labels and prompts."""

    labels: LabelsOption = None
    labels_file: LabelsFileOption = None
    prompts: PromptsOption = None


DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", envvar="CLIPCLI_DEVICE", help="Device: auto, cpu, cuda, cuda:N or mps."),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", metavar="P", envvar="CLIPCLI_PRECISION", help="Numeric precision: auto, fp32, fp16 or bf16."
    ),
]
EngineOption = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", envvar="CLIPCLI_ENGINE", help=ENGINE_HELP),
]
OfflineOption = Annotated[bool, typer.Option("--offline", envvar="CLIPCLI_OFFLINE", help="Never use the network.")]
WeightsDirOption = Annotated[
    str | None,
    typer.Option(
        "--weights-dir", metavar="DIR", envvar="CLIPCLI_WEIGHTS_DIR",
        help="Keep downloaded weights in DIR instead of the Hugging Face cache.",
    ),
]  # fmt: skip
CacheDirOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dir", metavar="DIR", envvar="CLIPCLI_CACHE_DIR",
        help="Keep clipcli's own cache (vectors, fast-starting copies) in DIR.",
        show_default="the user's cache folder",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class StoreOptions:
    """Folders."""

    weights_dir: WeightsDirOption = None
    cache_dir: CacheDirOption = None


@dataclass(frozen=True)
class HubOptions(StoreOptions):
    """Network and folders."""

    offline: OfflineOption = False


@dataclass(frozen=True)
class ModelOptions:
    """Model and device."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", envvar="CLIPCLI_MODEL",
            help="tiny, fast, balanced, best, ARCH/TAG, hf-hub:org/name, local-dir:PATH, ARCH@FILE or a bundle.",
        ),
    ] = _DEFAULT_MODEL  # fmt: skip
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    engine: EngineOption = "auto"
    offline: OfflineOption = False
    weights_dir: WeightsDirOption = None
    auto_export: Annotated[
        bool | None,
        typer.Option(
            "--auto-export/--no-auto-export", envvar="CLIPCLI_AUTO_EXPORT",
            help="Make a fast-starting copy of a model that runs through torch.", show_default="yes, except in CI",
        ),
    ] = None  # fmt: skip

    def choice(self) -> Choice:
        """These options, checked. Raises UsageError."""
        from clipcli.models.choice import parse_choice

        return parse_choice(
            self.model, self.device, self.precision, self.engine, offline=self.offline, weights_dir=self.weights_dir
        )


def default_format(context: typer.Context, value: str) -> str:
    """A format from the environment or a file gives way to `--paths`, and to `-o FILE`, whose suffix says it."""
    source = context.get_parameter_source("format")
    given = source is not None and source.name == "COMMANDLINE"
    return "auto" if not given and (context.params.get("output") or context.params.get("paths")) else value


FormatOption = Annotated[
    str,
    typer.Option(
        "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT", callback=default_format,
        help="table, tsv, csv, jsonl, json, parquet, or auto: a table on a terminal, TSV elsewhere.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class TableOptions:
    """Output."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="Write rows to FILE or a URL (s3://…). The suffix sets the format. FILE appears only when complete.",
        ),
    ] = None  # fmt: skip
    format: FormatOption = "auto"
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas", help="In CSV and TSV, put ' before cells that a spreadsheet would run as a formula."
        ),
    ] = False

    def parse_table(self) -> Output:
        """These options, checked. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(self.format, self.output, escape_formulas=self.escape_formulas)


@dataclass(frozen=True)
class OutputOptions(TableOptions):
    """Output."""

    paths: Annotated[bool, typer.Option("--paths", help="Write bare paths instead of rows.")] = False

    def parse(self, *, null: bool, also: tuple[str, ...] = ()) -> Output:
        """These options, checked; `also` names formats of one command. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(
            self.format, self.output, paths=self.paths, null=null, also=also, escape_formulas=self.escape_formulas
        )


QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show no progress bars or notes. Failures are still shown."),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show the model, the device and timings."),
]


@dataclass(frozen=True)
class TalkOptions:
    """Verbosity."""

    quiet: QuietOption = False
    verbose: VerboseOption = False

    def talk(self) -> Console:
        """The voice on stderr."""
        from clipcli.core.console import Console

        return Console(quiet=self.quiet, verbose=self.verbose)


NoCacheOption = Annotated[
    bool,
    typer.Option("--no-cache", envvar="CLIPCLI_NO_CACHE", help="Neither read nor write the cache of vectors."),
]
RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="Compute every vector again and replace it in the cache.")
]
CacheMaxSizeOption = Annotated[
    str | None,
    typer.Option(
        "--cache-max-size", metavar="SIZE", envvar="CLIPCLI_CACHE_MAX_SIZE",
        help="Size limit of the cache of vectors, such as 500M.", show_default="2GB",
    ),
]  # fmt: skip
CacheDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dtype", metavar="TYPE", envvar="CLIPCLI_CACHE_DTYPE",
        help="Number type in the cache: float32 or float16.", show_default="float32",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class CachedRunOptions:
    """Cache and verbosity."""

    no_cache: NoCacheOption = False
    refresh: RefreshOption = False
    cache_dir: CacheDirOption = None
    cache_max_size: CacheMaxSizeOption = None
    cache_dtype: CacheDtypeOption = None
    quiet: QuietOption = False
    verbose: VerboseOption = False

    def talk(self) -> Console:
        """The voice on stderr."""
        return TalkOptions(self.quiet, self.verbose).talk()


@dataclass(frozen=True)
class RunOptions(CachedRunOptions):
    """Cache, verbosity and performance."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", min=1, envvar="CLIPCLI_BATCH_SIZE",
            help="Batch size.", show_default="depends on the device",
        ),
    ] = None  # fmt: skip
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, envvar="CLIPCLI_WORKERS",
            help="Threads that read and decode images.", show_default="one per core",
        ),
    ] = None  # fmt: skip
    fast_decode: Annotated[
        bool,
        typer.Option("--fast-decode", help="Shrink large JPEGs while decoding. Faster; vectors differ slightly."),
    ] = False
    gpu_decode: Annotated[
        bool,
        typer.Option("--gpu-decode", help="Decode JPEGs on a CUDA GPU. Faster; vectors differ slightly."),
    ] = False

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
