"""Thumbnails on terminals of every kind, real ones as far as the program can tell."""

from __future__ import annotations

import base64
import io
import re
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from pictures import disc
from PIL import Image
from run import ROOT, command, run
from terminal import Terminal

SIXEL = {b"\x1b[c": b"\x1b[?62;4;22c"}
NEITHER = {b"\x1b[c": b"\x1b[?62;22c"}
KITTY = {**NEITHER, b"\x1b_G": b"\x1b_Gi=1;OK\x1b\\"}
DRAW = """
from PIL import Image
from clipcli.output.terminal_images import Thumbnail, draw
red = Image.new("RGB", (288, 200), (255, 0, 0))
draw("a\\x1b[5mb", [Thumbnail(red, ("1  0.5", "red")), Thumbnail(None, ("2  0.4", "x\\x1b]0;owned\\x07y"))])
"""


def drawn(answers, *, pixels=True, stdin=None):
    terminal = Terminal(answers, pixels)
    code = terminal.run([sys.executable, "-c", DRAW], stdin=stdin, environment={"PYTHONPATH": str(ROOT), "COLUMNS": ""})
    text = terminal.seen.decode()
    assert code == 0, text
    assert "a\\x1b[5mb" in text
    assert "\x1b[5m" not in text
    assert "\x1b]0;" not in text
    assert re.search(r"1  0\.5 +2  0\.4", text)
    return text


@pytest.mark.thorough
@pytest.mark.parametrize("answers", [{}, NEITHER], ids=["silent", "neither"])
@pytest.mark.parametrize("pixels", [True, False])
def test_half_blocks_where_the_terminal_cannot_do_better(answers, pixels):
    text = drawn(answers, pixels=pixels)
    assert "▀" in text
    assert "\x1bP" not in text


@pytest.mark.thorough
def test_sixel_where_the_terminal_says_so():
    text = drawn(SIXEL)
    assert re.search(r"\x1bP[0-9;]*q", text)
    assert "▀" not in text


@pytest.mark.thorough
def test_kitty_where_the_terminal_says_so():
    text = drawn(KITTY)
    sent = "".join(re.findall(r"\x1b_Gi=\d+,m=[01],f=100,q=2;([^\x1b]*)\x1b", text))
    picture = Image.open(io.BytesIO(base64.b64decode(sent)))
    assert picture.getpixel((picture.width // 4, picture.height // 2)) == (255, 0, 0)
    assert picture.getpixel((picture.width - 1, 0)) == (0, 0, 0)
    assert "▀" not in text


@pytest.mark.thorough
def test_the_terminal_is_asked_where_stdin_is_something_else():
    assert re.search(r"\x1bP[0-9;]*q", drawn(SIXEL, stdin=b"a list of images\n"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    disc("red").save(place / "red\x1b[31m.png")
    disc("blue").save(place / "blue.png")
    (place / "bad.png").write_bytes(b"no image")
    return place


@pytest.mark.thorough
def test_the_rows_then_the_pictures(photos):
    terminal = Terminal()
    code = terminal.run(command("rank", "--image", photos / "blue.png", photos, "-m", "tiny", "--preview"))
    text = terminal.seen.decode()
    assert code == 3, text
    assert "\\x1b[31m" in text
    assert "red\x1b" not in text
    assert 0 < text.index("score") < text.index("▀") < text.rindex("1  0.")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("environment", "reason"), [({"NO_COLOR": "1"}, "NO_COLOR is set"), ({"TERM": "dumb"}, "a plain one")]
)
def test_plain_terminals_get_a_line_and_the_rows(photos, environment, reason):
    terminal = Terminal()
    argv = command("rank", "a disc", photos / "blue.png", "-m", "tiny", "--preview")
    code = terminal.run(argv, environment=environment)
    text = terminal.seen.decode()
    assert code == 0, text
    assert text.count("clipcli: no preview: ") == 1
    assert reason in text
    assert "▀" not in text
    assert "blue.png" in text


def test_a_pipe_gets_rows_alone(photos):
    done = run("rank", "a disc", photos / "blue.png", "-m", "tiny", "--preview")
    assert (done.code, len(done.lines)) == (0, 1)
    assert done.stderr.endswith("clipcli: no preview: stdout is not a terminal\n")
    assert run("rank", "a disc", photos / "blue.png", "-m", "tiny", "--preview", "-q").stderr == ""


@pytest.mark.thorough
def test_texts_and_figures_have_no_pictures(photos, tmp_path):
    assert run("embed", "-t", "a disc", "-m", "tiny", "-o", tmp_path / "t.npy", "-q").code == 0
    done = run("rank", "--image", photos / "blue.png", tmp_path / "t.npy", "-m", "tiny", "--preview")
    assert "no preview: texts were searched" in done.stderr
    assert run("rank", "--relevance", "x.csv", photos, "-m", "tiny", "--preview").code == 2
