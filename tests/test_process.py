"""Real processes: pipes that close, Ctrl-C, full disks, no network, what a run imports."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pictures
import pytest
from run import ROOT, command, run_process


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model: it starts at once, so that whole processes are cheap."""
    tiny = ROOT / "clipcli" / "models" / "tiny"
    if not (tiny / "manifest.json").is_file():
        pytest.skip("the embedded model is not built")
    return tiny


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.thorough
def test_head_ends_the_run_quietly(bundle: Path, folder: Path):
    line = f"{' '.join(command('classify', folder, '-l', 'disc,square', '-m', bundle, '-q'))} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.thorough
def test_a_full_disk_under_stdout_is_one_line(bundle: Path, folder: Path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("classify", folder, "-l", "disc,square", "-m", bundle, "-q"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 6
    assert done.stderr == "clipcli: error: cannot write standard output: no space left on device\n"


NO_SPACE = "clipcli: error: cannot write standard output: no space left on device\n"
CLOSED = "clipcli: error: cannot write standard output: bad file descriptor\n"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("- <&-", 4, "clipcli: error: the list of images is empty"),
        ("{image} >&-", 6, CLOSED),
        ("{image} gone.png 2>&-", 3, ""),
        ("{image} gone.png 2>/dev/full", 3, ""),
        ("--help >/dev/full", 6, NO_SPACE),
        ("--help >&-", 6, CLOSED),
    ],
)
def test_streams_that_are_closed_or_full(bundle: Path, folder: Path, redirected: str, code: int, said: str):
    """A service manager may start programs so; what cannot be said must not change the exit code."""
    options = command("classify", "-l", "disc,square", "-m", bundle, "-q")
    line = f"{' '.join(options)} {redirected.format(image=folder / 'disc' / 'red.png')}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == code
    assert ("red.png" in done.stdout) == (not said)
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_ctrl_c_keeps_what_is_done_and_ends_in_130(bundle: Path, folder: Path):
    process = subprocess.Popen(
        command("classify", "-", "-l", "disc,square", "-m", bundle, "-q", "--format", "json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{folder / 'disc' / 'red.png'}\n".encode())
    process.stdin.flush()
    first = process.stdout.read1(4096)  # the first row is out while the list of images is still open
    assert b"red.png" in first
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert (first + rest).rstrip().endswith(b"]")
    assert errors == b"clipcli: interrupted\n"
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the working folder of a process")
@pytest.mark.parametrize("arguments", [["classify", "-l", "a,b", "-m", "tiny"], ["models", "list"]])
def test_a_working_folder_that_was_removed_is_named(tmp_path: Path, folder: Path, arguments: list[str]):
    (tmp_path / "gone").mkdir()
    line = shlex.join(map(str, command(*arguments, *([folder] if arguments[0] == "classify" else []))))
    done = subprocess.run(
        ["bash", "-c", f"rmdir ../gone && {line}"], cwd=tmp_path / "gone", capture_output=True, text=True,
        env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("clipcli: error: the working folder does not exist any more\n")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_leaves_no_temporary_file(
    tmp_path: Path, folder: Path, ended_by: signal.Signals
):
    process = subprocess.Popen(
        command("classify", "-", "-l", "disc,square", "-m", "tiny", "-q", "-o", tmp_path / "rows.csv"),
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin
    try:
        process.stdin.write(f"{folder / 'disc' / 'red.png'}\n".encode())
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
        process.send_signal(ended_by)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert errors == f"clipcli: ended by {ended_by.name}\n".encode()
    assert process.returncode == -ended_by
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
@pytest.mark.parametrize("ended_by", ["Ctrl-C", "a closed pipe"])
def test_nobody_waits_for_the_batch_that_is_with_the_model(bundle: Path, folder: Path, ended_by: str):
    """It takes a minute with a large model on a CPU; this one takes for ever."""
    script = """
import sys, threading
from clipcli.session.batches import BatchEncoder
encode = BatchEncoder.encode_images
def stuck(self, pixels, calls=[]):
    calls.append(pixels)
    if len(calls) == 1:
        return encode(self, pixels)
    print("stuck", file=sys.stderr, flush=True)
    threading.Event().wait()
BatchEncoder.encode_images = stuck
from clipcli.cli import main
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, "classify", folder, "-l", "disc,square", "-m", bundle, "-q", "--no-cache",
         "--batch-size", "1", "--format", "jsonl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    try:
        if ended_by == "a closed pipe":
            process.stdout.close()
            assert process.wait(timeout=30) == 0
            return
        assert process.stderr.readline() == "stuck\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "clipcli: interrupted\n")
    finally:
        process.kill()


STUCK = """
import sys, threading
from clipcli.session.batches import BatchEncoder
def stuck(self, pixels):
    print("stuck", file=sys.stderr, flush=True)
    threading.Event().wait()
BatchEncoder.encode_images = stuck
{more}
from clipcli.cli import main
main()
"""


def stuck_process(bundle: Path, folder: Path, more: str = "") -> subprocess.Popen[str]:
    """Return a process whose model has been given a batch and never returns it."""
    options = ["-l", "disc,square", "-m", bundle, "-q", "--no-cache"]
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK.format(more=more), "classify", folder, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr
    assert process.stderr.readline() == "stuck\n"
    return process


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="the threads of a process are read from /proc")
@pytest.mark.parametrize("thread", range(5))
def test_ctrl_c_counts_whichever_thread_gets_it(bundle: Path, folder: Path, thread: int):
    """The system may give a signal to any thread; the main thread waits for the model meanwhile."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "tgkill"):
        pytest.skip("this C library cannot send a signal to one thread of another process")
    process = stuck_process(bundle, folder)
    try:
        time.sleep(0.3)  # until the main thread waits
        threads = [int(each) for each in os.listdir(f"/proc/{process.pid}/task")]
        others = [each for each in threads if each != process.pid]
        assert libc.tgkill(process.pid, others[thread % len(others)], signal.SIGINT) == 0
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "clipcli: interrupted\n")
    finally:
        process.kill()


@pytest.mark.thorough
def test_a_second_ctrl_c_ends_a_run_that_does_not_close(bundle: Path, folder: Path):
    never = """
import clipcli.cli.app
def wait_forever(code):
    while True:
        threading.Event().wait()
sys.modules["clipcli.cli.app"]._end_process = wait_forever
"""
    process = stuck_process(bundle, folder, never)
    assert process.stderr
    try:
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "clipcli: interrupted\n"
        process.send_signal(signal.SIGINT)  # too soon: the run is being closed
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "clipcli: ended at the second Ctrl-C\n")
    finally:
        process.kill()


@pytest.mark.thorough
@pytest.mark.parametrize("module", ["typer", "clipcli.cli.command_classes", "clipcli.options.classify"])
def test_ctrl_c_while_modules_are_imported(bundle: Path, folder: Path, module: str):
    script = f"""
import sys, importlib.abc
class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from clipcli.__main__ import main
main()
"""
    arguments = ["classify", folder, "-l", "disc,square", "-m", bundle]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "clipcli: interrupted\n")


def test_a_process_that_was_started_with_interrupts_ignored_goes_on(bundle: Path, folder: Path):
    """So starts a shell a command with `&`, and nohup; Ctrl-C is not meant for it."""
    process = subprocess.Popen(
        command("classify", "-", "-l", "disc,square", "-m", bundle, "-q"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{folder / 'disc' / 'red.png'}\n")
    process.stdin.flush()
    assert "red.png" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.stdin.write(f"{folder / 'disc' / 'red.png'}\n")
    rest, _ = process.communicate(timeout=30)
    assert "red.png" in rest
    assert process.returncode == 0


@pytest.mark.thorough
def test_a_slow_list_gives_rows_as_it_comes(bundle: Path, folder: Path):
    process = subprocess.Popen(
        command("classify", "-", "-l", "disc,square", "-m", bundle, "-q", "--format", "jsonl"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin
    assert process.stdout
    for name in ("red.png", "blue.png"):
        process.stdin.write(f"{folder / 'disc' / name}\n".encode())
        process.stdin.flush()
        assert name.encode() in process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=30) == 0


@pytest.mark.thorough
def test_a_run_on_a_bundle_imports_no_torch(bundle: Path, folder: Path):
    script = f"""
import sys
from clipcli.cli import app
try:
    app(["classify", {str(folder)!r}, "-l", "disc,square", "-m", {str(bundle)!r}, "-q"], prog_name="clipcli")
except SystemExit as stop:
    assert stop.code == 0, stop.code
heavy = {{"torch", "open_clip", "huggingface_hub", "transformers", "torchvision"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), stdout=subprocess.DEVNULL)


@pytest.mark.thorough
def test_the_second_run_loads_no_model_at_all(bundle: Path, folder: Path):
    script = f"""
import sys
from clipcli.cli import app
try:
    app(["classify", {str(folder)!r}, "-l", "disc,square", "-m", {str(bundle)!r}, "-q"], prog_name="clipcli")
except SystemExit as stop:
    assert stop.code == 0, stop.code
print("onnxruntime" in sys.modules)
"""
    loaded = [
        subprocess.run(
            [sys.executable, "-c", script], check=True, env=environment(), capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert [text.splitlines()[-1] for text in loaded] == ["True", "False"]
    assert loaded[0].splitlines()[:-1] == loaded[1].splitlines()[:-1]


@pytest.mark.thorough
def test_a_bug_keeps_its_traceback_and_ends_in_70(folder: Path):
    script = f"""
import clipcli.session.session
def broken(*_, **__):
    raise ZeroDivisionError("a bug")
clipcli.session.session.open_session = broken
from clipcli.cli import app
app(["classify", {str(folder)!r}, "-l", "a,b", "-m", "tiny"], prog_name="clipcli")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 70
    assert "ZeroDivisionError: a bug" in done.stderr
    assert "this is a bug in clipcli" in done.stderr


def test_python_dash_m_is_the_same_command():
    assert run_process("--version").stdout.startswith("clipcli ")


@pytest.mark.thorough
def test_stdin_is_not_read_unless_asked(bundle: Path, folder: Path):
    """In a loop over a list on stdin, every iteration would eat the rest of the list."""
    line = " ".join(command("classify", folder / "disc", "-l", "a,b", "-m", bundle, "-q"))
    script = f'printf "one\\ntwo\\n" | while read -r name; do {line} >/dev/null; echo "$name"; done'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == "one\ntwo\n"


@pytest.mark.thorough
@pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")
def test_a_terminal_shows_a_table(bundle: Path, folder: Path, tmp_path: Path):
    line = " ".join(command("classify", folder, "-l", "disc,square", "-m", bundle))
    session = f"clipcli-{os.getpid()}"
    subprocess.run(
        [
            "tmux",
            "new-session",
            "-d",
            "-s",
            session,
            "-x",
            "100",
            "-y",
            "30",
            f"PYTHONPATH={ROOT} {line}; tmux wait-for -S {session}; cat",
        ],
        check=True,
    )
    try:
        subprocess.run(["tmux", "wait-for", session], check=True, timeout=60)
        shown = subprocess.run(
            ["tmux", "capture-pane", "-p", "-t", session], capture_output=True, text=True, check=True
        ).stdout
    finally:
        subprocess.run(["tmux", "kill-session", "-t", session], check=False)
    assert "image" in shown
    assert "label" in shown
    assert "red.png" in shown
    assert "━" in shown or "─" in shown


def test_pictures_of_tests_are_what_they_say():
    assert pictures.disc("red").getpixel((48, 40)) == pictures.COLOURS["red"]
    assert pictures.square("blue").getpixel((15, 15)) == pictures.COLOURS["blue"]
