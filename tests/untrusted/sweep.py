"""Run one reader over every hostile document, in a process of its own with little memory.

python tests/untrusted/sweep.py READER      one JSON object
python tests/untrusted/sweep.py             the table of SECURITY.md, over all readers
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from untrusted.documents import documents, mutated  # noqa: E402

MEMORY = 6 << 30
"""Bytes of address space; libraries that are mapped count too."""
SECONDS = 60
"""That a reader may take for one document, on a machine that may be busy."""
MUTATIONS = 60


class TookTooLongError(BaseException):
    """A reader did not come to an end."""


def _late(*_: object) -> None:
    raise TookTooLongError


def sweep(name: str, folder: Path, *, every: int = 1, first: int = 0) -> dict[str, object]:
    """Try each document, or each `every`-th from `first` on; what is no good answer is listed."""
    from untrusted.readers import READERS, verdict

    reader = READERS[name]
    reader.prepare(folder)
    file = folder / reader.name
    good = file.read_bytes() if file.exists() else b""
    damaged = {f"damaged {number}": data for number, data in enumerate(mutated(good, MUTATIONS) if good else [])}
    tried = list({**documents(), **damaged}.items())[first % every :: every]
    bad: dict[str, str] = {}
    signal.signal(signal.SIGALRM, _late)
    start = time.monotonic()
    for document, data in tried:
        file.write_bytes(data)
        reader.seal(file)
        signal.alarm(SECONDS)
        try:
            if found := verdict(reader, file):
                bad[document] = found
        except TookTooLongError:
            bad[document] = "took too long"
        finally:
            signal.alarm(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "reader": name,
        "tried": len(tried),
        "bad": bad,
        "peak_mb": peak,
        "seconds": round(time.monotonic() - start, 1),
    }


def in_a_process(name: str, *, every: int = 1, first: int = 0) -> dict[str, object]:
    """A sweep in a process of its own: a crash is its answer too."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, name, str(every), str(first)],
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
            cwd=folder,
            env={**os.environ, "CLIPCLI_CACHE_DIR": f"{folder}/cache", "XDG_STATE_HOME": folder, "HF_HUB_OFFLINE": "1"},
        )
    if done.returncode:
        bad = {"crash": f"exit {done.returncode}: {done.stderr[-1500:]}"}
        return {"reader": name, "tried": 0, "bad": bad, "peak_mb": 0, "seconds": 0}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """One reader, or the table."""
    if len(sys.argv) > 1:
        every, first = (int(number) for number in [*sys.argv[2:], "1", "0"][:2])
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        print(json.dumps(sweep(sys.argv[1], Path.cwd(), every=every, first=first)))
        return
    from untrusted.readers import READERS

    print("| what is read | documents | crashes | exit 70 | no end | peak MB |\n|---|---|---|---|---|---|")
    for name in READERS:
        found = in_a_process(name)
        bad = found["bad"]
        assert isinstance(bad, dict)
        late = sum(words == "took too long" for words in bad.values())
        crashes = int("crash" in bad)
        cells = (name, found["tried"], crashes, len(bad) - late - crashes, late, found["peak_mb"])
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        if bad:
            print(json.dumps(bad), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
