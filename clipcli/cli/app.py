"""The Typer app and its commands; this module turns errors into exit codes."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli import __version__
from clipcli.cli.interrupts import handle_interrupts
from clipcli.cli.lazy_group import LazyCommands, LazyGroup
from clipcli.cli.option_groups import with_groups
from clipcli.errors import ClipcliError, ExitCode, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

_HELP = "Zero-shot vision from the shell: classify, embed, rank and dedupe images with OpenCLIP models."
_EXAMPLES = """clipcli classify photos/ -l cat,dog --model tiny   # needs no download
clipcli classify --help                            # everyday options
clipcli classify --help-all                        # all options"""

_ARGUMENTS = "clipcli.arguments"


class _Root(LazyGroup):
    """Keeps the command's arguments for the callback, which does not get them from Typer."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"commands": LazyCommands(bounded)})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Store the arguments and parse them."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Root,
    name="clipcli",
    help=_HELP,
    epilog=_EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"clipcli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option(
            "--version", callback=lambda asked: _version(asked=asked), is_eager=True, help="Print the version."
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
        from clipcli.config.environment import options_as_variables

        try:
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
        sys.stderr.write("clipcli: interrupted\n")


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
    # The model's threads are daemons, so that an unclosed run does not block the exit (clipcli.session.batcher).
    threads = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    is_working = any(thread.name.startswith("model") or not thread.daemon for thread in threads)
    if not is_working:
        if sys.gettrace() is not None or sys.getprofile() is not None:
            return
        atexit._run_exitfuncs()  # noqa: SLF001 - temporary files go, logs are written
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(int(code) if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Run the command line."""
    _fill_closed_streams()
    handle_interrupts()
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
