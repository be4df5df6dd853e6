"""The Typer app: its commands by name, each built when it is used; this module turns errors into exit codes.

Typer would build all commands of an app, with some 300 options, before running one, which took a third of each start.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from clipcli import __version__
from clipcli.cli.command_classes import DemandConversion, SectionedCommand, SectionedGroup, with_groups, write_examples
from clipcli.cli.interrupts import end_by_signal, handle_interrupts, interruption
from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.errors import ClipcliError, ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

SUMMARIES = {
    "classify": "Give each image the label that fits it best.",
    "embed": "Turn images and texts into vectors.",
    "rank": "Find images by words, by example, or both.",
    "score": "Score how well each image fits its own text.",
    "select": "Choose rows, and copy their samples.",
    "dedupe": "Find copies, near copies and look-alikes.",
    "apply": "Apply a plan from dedupe (default: dry run).",
    "undo": "Undo what apply did.",
    "index": "Build an index for millions of vectors.",
    "merge": "Join the parts of an embed run.",
    "check": "Run the checks in clipcli.toml.",
    "calibrate": "Find thresholds from labelled images.",
    "detect": "Find labels in images, as boxes.",
    "fit": "Learn labels from a few pictures of each.",
    "doctor": "Show versions and settings for bug reports.",
    "models": "List, download, verify and export models.",
    "prompts": "List, show and check prompt templates.",
    "cache": "Show and clear the cache of vectors.",
}
"""Command → summary in `clipcli --help`; the command is in the module of the same name in `clipcli.cli.commands`."""
_HELP = "Zero-shot vision from the shell: classify, embed, rank and dedupe images with OpenCLIP models."
_EXAMPLES = """clipcli classify photos/ -l cat,dog --model tiny   # needs no download
clipcli classify --help                            # everyday options
clipcli classify --help-all                        # all options"""

_ARGUMENTS = "clipcli.arguments"


class LazyCommands(Mapping[str, Any]):
    """Name → command. A module with `COMMANDS` is a group of subcommands; others have a function of the same name."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._build(name, SUMMARIES[name])
        return self._built[name]

    def _build(self, name: str, summary: str) -> Any:
        module = import_module(f"clipcli.cli.commands.{name}")
        command_app = typer.Typer(
            name=name, help=summary, cls=SectionedGroup, epilog="\n".join(module.EXAMPLES),
            no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        )  # fmt: skip
        subcommands: dict[str, Callable[..., None]] | None = getattr(module, "COMMANDS", None)
        if subcommands is None:
            wrapped = bounded(getattr(module, name))
            wrapped.everyday = getattr(module, "EVERYDAY", ())  # type: ignore[attr-defined]
            examples = "\n".join(module.EXAMPLES)
            command_app.command(name, cls=SectionedCommand, short_help=summary, epilog=examples)(wrapped)
            return typer.main.get_command(command_app)
        for verb, function in subcommands.items():
            command_app.command(verb, cls=SectionedCommand)(bounded(function))
        return typer.main.get_group(command_app)


@contextlib.contextmanager
def _redacted_errors() -> Iterator[None]:
    """Redact errors of the parser, which repeat arguments and so may contain a URL with a password."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
            error.message = redact(message)  # type: ignore[attr-defined]
        raise


class LazyGroup(DemandConversion, TyperGroup):
    """A group whose commands are `LazyCommands`.

    It keeps the command's arguments for the callback, which does not get them from Typer.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": LazyCommands()})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Store the arguments and parse them."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Return the names of the commands in order."""
        return list(SUMMARIES)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the arguments before the command."""
        with _redacted_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's options, and run it."""
        with _redacted_errors():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a file or folder in its place is answered with the line that was meant."""
        if args and args[0] not in SUMMARIES and os.path.exists(args[0]):  # noqa: PTH110 - any bytes
            has_labels = any(argument.startswith(("-l", "--labels", "--head", "--expect-from")) for argument in args)
            labels = "" if has_labels else " -l cat,dog"
            line = printable(f"clipcli classify {shlex.join(args)}{labels}")
            ctx.fail(f"{printable(args[0])!r} is a file or folder, not a command. Did you mean: {line}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the list of commands without building them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library's signature
        """Write the examples, one per line, ready to copy."""
        write_examples(formatter, self.epilog)


app = typer.Typer(
    cls=LazyGroup,
    name="clipcli",
    help=_HELP,
    epilog=_EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(*, requested: bool) -> None:
    if requested:
        typer.echo(f"clipcli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option(
            "--version",
            callback=lambda requested: _print_version(requested=requested),
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Zero-shot vision from the shell: classify, embed, rank and dedupe images with OpenCLIP models."""
    if not {"-h", "--help", "--help-all"} & set(context.meta[_ARGUMENTS]):
        try:
            context.default_map = _defaults(context)
        except ClipcliError as error:
            if context.invoked_subcommand == "doctor":  # doctor reports it itself
                return
            _say(error)
            raise typer.Exit(error.exit_code) from None


def _defaults(context: typer.Context) -> dict[str, Any]:
    """Return the config file's values for the command, by command and subcommand."""
    from clipcli.config.option_defaults import file_defaults

    name = context.invoked_subcommand or ""
    command = context.command.get_command(context, name)  # type: ignore[attr-defined]
    verbs = getattr(command, "commands", {"": command}).items()
    options = {f"{name} {verb}".strip(): frozenset(str(each.name) for each in inner.params) for verb, inner in verbs}
    verbose = any(re.fullmatch(r"--verbose|-[a-z]*v[a-z]*", argument) for argument in context.meta[_ARGUMENTS])
    nested: dict[str, Any] = {}
    for name, values in file_defaults(options, verbose=verbose).items():
        top, _, verb = name.partition(" ")
        nested.setdefault(top, {}).update({verb: values} if verb else values)
    return nested


def bounded(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command in the error boundary: failures end in a message and an exit code, bugs in a traceback."""
    flat = with_groups(command)

    def run(**arguments: Any) -> None:
        from clipcli.config.option_defaults import options_as_variables

        try:
            _refuse_own_input(arguments)
            with options_as_variables(arguments), _network(forbidden=bool(arguments.get("offline"))):
                flat(**arguments)
        except ClipcliError as error:
            _say(error)
            if error.exit_code is ExitCode.OUTPUT:
                _forget_stdout()
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(ExitCode.OK) from None
        except MemoryError as error:
            _say(_out_of_memory(error))
            raise typer.Exit(ExitCode.MODEL) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception:  # noqa: BLE001 - the boundary: a bug, reported with its traceback
            _report_bug()
            raise typer.Exit(ExitCode.BUG) from None

    run.__name__, run.__doc__, run.__module__ = flat.__name__, flat.__doc__, flat.__module__
    run.__annotations__ = flat.__annotations__
    run.sections = flat.sections  # type: ignore[attr-defined]
    run.__signature__ = flat.__signature__  # type: ignore[attr-defined]
    return run


_NO_INPUTS = frozenset({"output", "include", "exclude", "labels"})


def _refuse_own_input(arguments: Mapping[str, Any]) -> None:
    """Raise UsageError if `-o` names a file that another argument names too: `embed photo.jpg -f npy -o photo.jpg`."""
    output = arguments.get("output")
    if not isinstance(output, str) or not os.path.isfile(output):  # noqa: PTH113 - any bytes, and pathlib is slow
        return
    for value in (value for name, value in arguments.items() if name not in _NO_INPUTS):
        for path in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(path, str) and os.path.isfile(path) and os.path.samefile(path, output):  # noqa: PTH113, PTH121
                raise UsageError(f"-o {printable(output)} would replace an input", hint="name another file")


def _network(*, forbidden: bool) -> contextlib.AbstractContextManager[None]:
    """Forbid the network inside the block, if `forbidden`; without it nothing is imported."""
    if not forbidden:
        return contextlib.nullcontext()
    from clipcli.inputs.sources.filesystems import no_network

    return no_network()


def _say(error: ClipcliError) -> None:
    from clipcli.core.console import Console

    console = Console()
    console.line(f"error: {error.message}")
    for line in (error.hint or "").splitlines():
        console.line(f"  {line}")


def _say_interrupted() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"clipcli: {interruption()}\n")


def _out_of_memory(error: MemoryError) -> ClipcliError:
    detail = f": {error}" if str(error) else ""
    hint = "use a smaller --batch-size, fewer --workers or a smaller --model"
    return ClipcliError(f"out of memory{detail}", hint=hint)


def _report_bug() -> None:
    import traceback

    from clipcli.core.redaction import redact, redact_variables

    sys.stderr.write(redact_variables(redact(traceback.format_exc())))
    sys.stderr.write(f"clipcli: this is a bug in clipcli {__version__}; please report it with the lines above\n")


def _forget_stdout() -> None:
    """Redirect stdout to /dev/null after a closed pipe or a full disk, so that closing it does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_closed_streams() -> None:
    """Open /dev/null for each standard stream that the parent closed, so that no other file gets its descriptor.

    Then stdin is empty, stderr discards everything, and writing to stdout is an error.
    """
    modes = {"stdin": (os.O_RDONLY, "r"), "stdout": (os.O_RDONLY, "w"), "stderr": (os.O_WRONLY, "w")}
    for number, (name, (flags, mode)) in enumerate(modes.items()):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, flags)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace"))


def _end_process(code: Any) -> None:
    """End the process at once: freeing every object of the interpreter first takes a tenth of a start.

    Threads of the model are not waited for: after Ctrl-C, `| head` or an error, one may need a minute for its batch.
    All output is written and closed by now, and the cache is safe at any time. Under a tracer, as of coverage, the
    interpreter ends as usual.
    """
    # The model's threads are daemons, so that an unclosed run does not block the exit (clipcli.session.pipeline).
    threads = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    is_working = any(thread.name.startswith("model") or not thread.daemon for thread in threads)
    if not is_working:
        if sys.gettrace() is not None or sys.getprofile() is not None:
            return
        atexit._run_exitfuncs()  # noqa: SLF001 - temporary files go, logs are written
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    end_by_signal()
    os._exit(int(code) if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Run the command line."""
    _fill_closed_streams()
    handle_interrupts()
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not needed yet
    except OSError:  # every relative path would fail, each with other words
        _say(UsageError("the working folder does not exist any more", hint="cd to a folder that exists"))
        sys.exit(ExitCode.USAGE)
    try:
        app()
    except SystemExit as stop:
        if stop.code == ExitCode.INTERRUPTED:
            _say_interrupted()
        _end_process(stop.code)
        raise
    except OSError as error:  # Typer's own output cannot be written
        _say(OutputError(f"cannot write standard output: {(error.strerror or str(error)).lower()}"))
        _forget_stdout()
        sys.exit(ExitCode.OUTPUT)
    except Exception:  # noqa: BLE001 - a bug outside of any command
        _report_bug()
        sys.exit(ExitCode.BUG)
