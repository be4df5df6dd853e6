"""Groups of options that several commands take as one parameter; the types of single options are in `option_types`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from clipcli.models.catalogue import ALIAS_NAMES
from clipcli.options.option_types import (
    AnnotateOption,
    CacheDirOption,
    CacheDtypeOption,
    CacheMaxSizeOption,
    DeviceOption,
    EngineOption,
    ExcludeOption,
    IncludeOption,
    LabelsFileOption,
    LabelsOption,
    NoCacheOption,
    NullOption,
    OfflineOption,
    OutputFileOption,
    PrecisionOption,
    PromptsOption,
    QuietOption,
    RefreshOption,
    VerboseOption,
    WeightsDirOption,
    WhereOption,
)
from clipcli.output.formats import spoken_formats
from clipcli.output.reports import spoken_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.core.console import Console
    from clipcli.images import Rendering
    from clipcli.inputs.row_filter import Condition
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.inputs.sources.refs import ImageRef
    from clipcli.models.spec import Choice
    from clipcli.output import Output
    from clipcli.output.reports import Reporting
    from clipcli.session.prepare import SessionOptions


@dataclass(frozen=True)
class ReportOptions:
    """Reports."""

    report: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="FILE", help=f"Write a report: {spoken_reports()}. Repeatable."),
    ] = None
    annotate: AnnotateOption = "auto"

    def parse(self) -> Reporting:
        """Check these options and return them as one value. Raises UsageError."""
        from clipcli.output.reports import parse_reporting

        return parse_reporting(self.report or [], self.annotate)


@dataclass(frozen=True)
class InputOptions:
    """Inputs."""

    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Files, folders, globs, URLs, tar shards or tables (.csv, .jsonl, .parquet). - reads a list of paths, "
            "or one image, from stdin.",
            show_default=False,
        ),
    ] = None
    files_from: Annotated[
        list[str] | None,
        typer.Option(
            "--files-from",
            metavar="FILE",
            help="Read more paths, one per line, from FILE. FILE can be a URL. Repeatable.",
        ),
    ] = None
    null: NullOption = False
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="NAME", help="Column of a table that holds images, or their paths or URLs."),
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
        """Return the name filter."""
        from clipcli.inputs.sources.patterns import Globs

        return Globs(tuple(self.include or ()), tuple(self.exclude or ()))

    def collect(
        self,
        console: Console,
        warn: Callable[[str], object] | None = None,
        *,
        follows_links: bool = False,
        keep: Sequence[str] = (),
        where: Condition | None = None,
    ) -> Iterator[ImageRef]:
        """Yield the images; `warn` gets a message per folder without images. Raises UsageError, InputsError."""
        from clipcli.inputs.collect import collect

        return collect(
            self.images or [], files_from=self.files_from or [], null=self.null, column=self.column, keep=keep,
            where=where, globs=self.globs,
            follows_links=follows_links, warn=warn, detail=console.debug_once,
        )  # fmt: skip

    def rendering(self) -> Rendering:
        """Return the conversion of pixels to RGB. Raises UsageError."""
        from clipcli.images.colour_modes import Rendering, parse_colour

        return Rendering(parse_colour(self.background_colour), self.bare_transform)


@dataclass(frozen=True)
class CarriedOptions:
    """Inputs."""

    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", "--keep-columns", metavar="A,B,...|all",
            help="Columns of the input table to add to every row, comma-separated.",
        ),
    ] = None  # fmt: skip
    where: WhereOption = None

    def condition(self) -> Condition | None:
        """Return the condition on rows of tables, or None. Raises UsageError."""
        if self.where is None:
            return None
        from clipcli.inputs.row_filter import Condition

        return Condition(self.where)

    @property
    def names(self) -> list[str]:
        """Return the names of columns; a name with a comma is given in double quotes."""
        import csv

        columns = [name.strip() for row in csv.reader(self.keep or [], skipinitialspace=True) for name in row]
        return list(dict.fromkeys(name for name in columns if name))


@dataclass(frozen=True)
class LabelOptions:
    """Labels and prompts."""

    labels: LabelsOption = None
    labels_file: LabelsFileOption = None
    prompts: PromptsOption = None


@dataclass(frozen=True)
class ModelOptions:
    """Model and device."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", envvar="CLIPCLI_MODEL",
            help=f"{', '.join(ALIAS_NAMES)}, ARCH/TAG or a bundle. "
            "Also hf-hub:org/name, local-dir:PATH and ARCH@FILE.",
            show_default="fast; tiny without torch",
        ),
    ] = ""  # fmt: skip
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
        """Check these options and return them as one value. Raises UsageError."""
        from clipcli.models.spec import parse_choice

        return parse_choice(
            self.model, self.device, self.precision, self.engine, offline=self.offline, weights_dir=self.weights_dir
        )


def is_on_command_line(context: typer.Context, option: str) -> bool:
    """Return whether an option's value comes from the command line, and not from a variable or the config file."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def default_format(context: typer.Context, value: str) -> str:
    """Ignore a format from the environment or config file if `--paths` or `-o FILE`, by its suffix, sets it."""
    is_given = is_on_command_line(context, "format")
    return "auto" if not is_given and (context.params.get("output") or context.params.get("paths")) else value


@dataclass(frozen=True)
class TableOptions:
    """Output."""

    output: OutputFileOption = None
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", envvar="CLIPCLI_FORMAT", callback=default_format,
            help=f"{spoken_formats()}. auto is a table on a terminal and TSV elsewhere.",
        ),
    ] = "auto"  # fmt: skip
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas", help="In CSV and TSV, put ' before cells that a spreadsheet would run as a formula."
        ),
    ] = False

    def parse_table(self) -> Output:
        """Check these options and return them as one value. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(self.format, self.output, escape_formulas=self.escape_formulas)


@dataclass(frozen=True)
class OutputOptions(TableOptions):
    """Output."""

    own_formats: ClassVar[tuple[str, ...]] = ()
    """Formats of this command only."""
    paths: Annotated[bool, typer.Option("--paths", help="Write bare paths instead of rows.")] = False

    def parse(self, *, null: bool) -> Output:
        """Check these options and return them as one value. Raises UsageError."""
        from clipcli.output import parse_output

        return parse_output(
            self.format,
            self.output,
            paths=self.paths,
            null=null,
            also=self.own_formats,
            escape_formulas=self.escape_formulas,
        )


@dataclass(frozen=True)
class VerbosityOptions:
    """Verbosity."""

    quiet: QuietOption = False
    verbose: VerboseOption = False

    def console(self) -> Console:
        """Return a console for stderr."""
        from clipcli.core.console import Console

        return Console(quiet=self.quiet, verbose=self.verbose)


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

    def console(self) -> Console:
        """Return a console for stderr."""
        return VerbosityOptions(self.quiet, self.verbose).console()


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
        """Return the options of a session. Raises UsageError."""
        from clipcli.errors import UsageError
        from clipcli.images import ON_WHITE
        from clipcli.session.prepare import SessionOptions

        if self.fast_decode and self.gpu_decode:
            raise UsageError("--fast-decode and --gpu-decode exclude each other", hint="choose one")
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
