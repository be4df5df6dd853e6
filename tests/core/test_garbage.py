"""The thresholds of the garbage collector at the start of the program and during a run."""

from __future__ import annotations

import gc
from pathlib import Path

from run import run_script

from clipcli.core.garbage import collect_as_usual, collect_seldom

THRESHOLDS = """
import gc, sys
usual = gc.get_threshold()
from clipcli.output.targets import Target
write, seen = Target.write, []
def watched(self, data):
    seen.append((gc.get_threshold() == usual, gc.isenabled(), gc.get_freeze_count() > 10_000))
    write(self, data)
Target.write = watched
sys.argv[0] = "clipcli"
import atexit
from clipcli.cli import app
from clipcli.__main__ import main
atexit.register(lambda: print(seen))
main()
"""


def test_collections_are_postponed_and_resumed():
    usual = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold()[0] > 60_000
        collect_as_usual()
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count()
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def test_without_a_postponement_nothing_is_frozen():
    collect_as_usual()
    assert not gc.get_freeze_count()


def test_a_run_collects_as_usual(folder: Path):
    result = run_script(THRESHOLDS, "classify", folder / "disc" / "red.png", "-l", "disc,square", "-m", "tiny")
    assert result.stdout.splitlines()[-1] == "[(True, True, True)]", result.stderr
