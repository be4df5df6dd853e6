"""One start of clipcli, divided into stages: run as the program itself, it writes the seconds of each to a file.

    STAGES_STARTED=0 python benchmarks/startup_stages.py STAGES.json classify photo.jpg -l cat,dog

STAGES_STARTED is `time.perf_counter()` of the process that starts this one, which is `bench_startup.py`. Functions of
the table below, and every import, are wrapped as their module comes. Time counts for the innermost stage: imports that
happen while texts are encoded are imports. Where two threads work at once, the time is that of the one that began last.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STARTED: Final = "STAGES_STARTED"
IMPORTS, LIBRARIES, OTHER = "imports: clipcli", "imports: libraries", "command line and the rest"
INTERPRETER, END = "interpreter", "end of the process"
TABLE: Final = {
    "clipcli.config.option_defaults": {"configuration": ["file_defaults", "options_as_variables"]},
    "clipcli.runs.classify.validate": {"options": ["plan_command"]},
    "clipcli.inputs.collect": {"listing": ["collect"]},
    "clipcli.prompts.sets": {"options": ["load_prompts", "expand"]},
    "clipcli.cache.store": {
        "cache": [
            f"EmbeddingCache.{name}"
            for name in ("__init__", "known_digest", "remember_digest", "get", "put", "note", "keep_note", "close")
        ]
    },
    "clipcli.bundle.bundle": {"bundle": ["read"]},
    "clipcli.images.reader": {"reading": ["read_ref"]},
    "clipcli.images.decoder": {"decoding": ["decode"]},
    "clipcli.images.preprocess": {"decoding": ["to_pixels"]},
    "clipcli.engines.bundle_encoder": {
        "encoding": ["BundleEncoder.encode_images", "BundleEncoder.encode_texts", "BundleEncoder.tokens"]
    },
    "clipcli.engines.onnx": {"encoding": ["load"]},
    "clipcli.tasks.classify": {"scores": ["Classifier.classify"]},
    "clipcli.output.formats": {"output": ["parse_output", "open_writer"]},
    "clipcli.output.writers": {"output": ["JsonLinesWriter.write", "JsonLinesWriter.close"]},
    "clipcli.output.targets": {"output": ["Target.write", "Target.flush"]},
}
"""Module → stage → functions. A name that is missing ends the run: the table has to follow the code."""
STAGES: Final = (
    INTERPRETER, LIBRARIES, IMPORTS, OTHER, "configuration", "options", "listing", "cache", "bundle", "reading",
    "decoding", "encoding", "scores", "output", END,
)  # fmt: skip


def check_table() -> None:
    """Raise SystemExit if a module of the table is gone. It looks for files only, since an import would be measured."""
    root = Path(__file__).parents[1]
    for module in TABLE:
        path = root.joinpath(*module.split("."))
        if not path.with_suffix(".py").exists():
            raise SystemExit(f"{module} is gone: the table has to follow the code")


class Clock:
    """Adds up the time of the stage that runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._stages, self._since = [OTHER], time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stages[-1]] += now - self._since
        self._since = now

    def enter(self, stage: str) -> None:
        """Begin a stage within the present one."""
        self._turn()
        self._stages.append(stage)

    def leave(self, stage: str) -> None:
        """End a stage."""
        self._turn()
        if len(self._stages) > 1:  # another thread may have ended between the two
            del self._stages[len(self._stages) - 1 - self._stages[::-1].index(stage)]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts for a stage."""

        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.leave(stage)

        return run


def wrap(module: Any, clock: Clock) -> None:
    """Wrap the functions of a module that the table names."""
    for stage, names in TABLE[module.__name__].items():
        for name in names:
            *owner, last = name.split(".")
            holder = getattr(module, owner[0]) if owner else module
            function = vars(holder)[last]
            plain = function.__func__ if isinstance(function, classmethod) else function
            timed: Any = clock.timed(stage, plain)
            setattr(holder, last, classmethod(timed) if isinstance(function, classmethod) else timed)


def watch_imports(clock: Clock) -> None:
    """Time every import that is not a second one, and wrap what the table names."""
    machinery: Any = importlib._bootstrap  # type: ignore[attr-defined]  # noqa: SLF001
    load = machinery._find_and_load  # noqa: SLF001

    def find_and_load(name: str, import_: Any) -> Any:
        stage = IMPORTS if name.partition(".")[0] == "clipcli" else LIBRARIES
        clock.enter(stage)
        try:
            module = load(name, import_)
            if name in TABLE and not hasattr(module, "__stages__"):
                module.__stages__ = True
                wrap(module, clock)
            return module
        finally:
            clock.leave(stage)

    machinery._find_and_load = find_and_load  # noqa: SLF001


def main() -> None:
    """Run clipcli, and write the seconds when it ends."""
    here, started, (path, *arguments) = time.perf_counter(), float(os.environ[STARTED]), sys.argv[1:]
    check_table()
    clock = Clock()
    clock.seconds[INTERPRETER] = here - started
    end = os._exit

    def finish(code: int) -> None:
        clock.leave(OTHER)
        Path(path).write_text(
            json.dumps({"seconds": clock.seconds, "started": started, "ended": time.perf_counter()}), "utf-8"
        )
        end(code)

    os._exit = finish  # type: ignore[assignment]
    sys.argv = ["clipcli", *arguments]
    watch_imports(clock)
    from clipcli.__main__ import main as run

    run()


if __name__ == "__main__":
    main()
