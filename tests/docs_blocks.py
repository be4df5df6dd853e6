"""Code blocks of Markdown pages: found, and run as a reader would run them, but mostly in this process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image
from run import ROOT, run

SHELL = {"sh", "bash", "console", "shell"}
_FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- (not run|output differs): ([^>]+?) -->\s*\Z")
_EXTRA = re.compile(r"\bneeds? `clipcli\[(\w+)\]`")
_ANYTHING = "…"
_ONLY_BASH = re.compile(r"&&|;|\|\||\b(for|while|if|cd|function)\b|<\(|<<|\$\(|`")
_INSTALLERS = re.compile(r"(^|[|;&]\s*)(make|pip|pipx|uv|npm|docker|curl|wget|sudo)\s")
"""What changes the machine or needs the network: such lines belong into a block that is marked."""
_LIMIT_SECONDS = 60
_CHECKS = ("--expect", "--min-accuracy", "clipcli check", "--fail-")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    info: str
    text: str
    mark: str | None
    reason: str
    extra: str | None = None
    """The extra that the paragraph above says it needs, as in "needs `clipcli[torch]`"."""

    @property
    def language(self) -> str:
        return self.info.split()[0] if self.info.split() else ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a block, and what the page says it prints (None: nothing said)."""

    line: str
    output: tuple[str, ...] | None


def make_world(tmp_path: Path) -> None:
    """What a reader of the pages has at hand: photos, a shop's pictures in folders, a few small files."""
    pictures = sorted((ROOT / "examples").glob("*.png"))
    for name in ("photos", "photos/2024", "new"):
        (tmp_path / name).mkdir()
    for picture in pictures:
        image = Image.open(picture).convert("RGB")
        image.save(tmp_path / "photos" / f"{picture.stem}.jpg", quality=92)
        for number in range(3):
            target = tmp_path / "shop" / picture.stem / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            image.rotate(4 * number, fillcolor="white").save(target)
    shutil.copy(pictures[0], tmp_path / "photos" / "2024" / "copy.png")
    shutil.copy(tmp_path / "photos" / "car.jpg", tmp_path / "new" / "car.jpg")
    shutil.copy(tmp_path / "photos" / "dog.jpg", tmp_path / "photo.jpg")
    (tmp_path / "shards").mkdir()
    for number in range(2):
        (tmp_path / "caption.txt").write_text(f"a drawing of a {pictures[number].stem}\n", encoding="utf-8")
        with tarfile.open(tmp_path / "shards" / f"{number:05d}.tar", "w") as shard:
            shard.add(pictures[number], f"{number:06d}.png")
            shard.add(tmp_path / "caption.txt", f"{number:06d}.txt")
    (tmp_path / "labels.txt").write_text("cat\ndog: puppy; dog\ncar\n", encoding="utf-8")
    (tmp_path / "night.txt").write_text("# night\na photo\n\n{}\na {label}\n", encoding="utf-8")
    (tmp_path / "captions.csv").write_text("id,caption\n1,a red car\n2,a dog\n", encoding="utf-8")
    rows = [f"A{number},photos/{name}.jpg,a {name},{number}5" for number, name in enumerate(("apple", "car", "dog"))]
    (tmp_path / "catalogue.csv").write_text("\n".join(["sku,photo,title,price", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "expected.csv").write_text("path,label\nphotos/cat.jpg,cat\nphotos/dog.jpg,dog\n", encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; a comment `<!-- not run: reason -->` right before one is its mark."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        line = text[: match.start()].count("\n") + 1
        extra = _EXTRA.search(text[: match.start()].rstrip().rpartition("\n\n")[2])
        found.append(
            Block(
                page, line, match["info"].strip(), match["text"], mark and mark[1], mark[2] if mark else "",
                extra[1] if extra else None,
            )
        )  # fmt: skip
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a shell block: each line of `sh`, each `$ ` line of `console` with the output below it."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language != "console":
        if any(re.match(r"(for|while|if)\b", line) for line in lines):
            return [Command(block.text, None)]
        return [Command(line, None) for line in lines if line.strip() and not line.startswith("#")]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [
        Command(line, tuple(output) if any(output) and block.mark != "output differs" else None)
        for line, output in found
    ]


def execute(command: Command) -> str | None:
    """Run one command in the current folder; what is wrong with it, if anything is."""
    if _INSTALLERS.search(command.line):
        return f"{command.line}\nmust not be run by tests: mark its block <!-- not run: reason -->"
    out, err, code = _shell(command.line)
    if command.output is not None:
        shown = (out + err).splitlines()
        if not _agree(list(command.output), shown):
            return f"{command.line}\nprints\n" + "\n".join(shown) + "\nand not\n" + "\n".join(command.output)
        return None
    return None if code in allowed_codes(command.line) else f"{command.line}\nends in {code}\n{out[-500:]}{err[-1500:]}"


def allowed_codes(line: str) -> set[int]:
    """How a command may end: one that checks may find something."""
    return {0, 1} if any(sign in line for sign in _CHECKS) else {0}


def _agree(expected: list[str], found: list[str]) -> bool:
    """Line by line; `…` in a line stands for any characters, `…` alone for any lines."""
    if not expected:
        return not found
    if expected[0].strip() == _ANYTHING:
        return any(_agree(expected[1:], found[start:]) for start in range(len(found) + 1))
    pattern = ".*".join(map(re.escape, expected[0].rstrip().split(_ANYTHING)))
    return bool(found and re.fullmatch(pattern, found[0].rstrip())) and _agree(expected[1:], found[1:])


def _shell(line: str) -> tuple[str, str, int]:
    """A pipeline whose clipcli runs in this process; anything more involved goes to bash, with clipcli on the PATH."""
    if setting := re.fullmatch(r"export (\w+)=(\S*)\s*", line):
        os.environ[setting[1]] = setting[2]
        return "", "", 0
    if _ONLY_BASH.search(_unquoted(line)) or "clipcli" not in line:
        return _bash(line, b"")
    line, target = _redirected(line)
    data, said, code = b"", "", 0
    for part in _split(line):
        if re.match(r"(\w+=\S+ )*clipcli\s", part):
            out, err, ended = _in_process(part, data)
        else:
            out, err, ended = _bash(part, data)
        data, said, code = out.encode("utf-8", "surrogateescape"), said + err, code or ended
    if target:
        Path(target).write_bytes(data)
        data = b""
    return data.decode("utf-8", "surrogateescape"), said, code


def _in_process(part: str, data: bytes) -> tuple[str, str, int]:
    """Bash expands the words, as it would for the real program."""
    settings = dict(re.findall(r"(\w+)=(\S+) ", part.partition("clipcli ")[0]))
    words = part[part.index("clipcli ") + len("clipcli ") :]
    expanded = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True).stdout
    arguments = [os.fsdecode(word) for word in expanded.split(b"\0")[:-1]]
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        result = run(*arguments, stdin=data)
    finally:
        for name in settings:
            os.environ.pop(name)
            os.environ.update({name: before[name]} if name in before else {})
    return result.stdout, result.stderr, result.code


def _bash(line: str, data: bytes) -> tuple[str, str, int]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{_shim()}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"set -eo pipefail\n{line}"],
        input=data, capture_output=True, env=environment, check=False, timeout=_LIMIT_SECONDS,
    )  # fmt: skip
    return done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "replace"), done.returncode


def _shim() -> Path:
    """A folder with a `clipcli` that runs this checkout."""
    folder = Path(os.environ["CLIPCLI_CACHE_DIR"]) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "clipcli"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m clipcli "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return folder


def _unquoted(line: str) -> str:
    """The line with everything in quotes, and comments, taken out; of the same length."""
    blank = re.sub(r"'[^']*'|\"(?:\\.|[^\"\\])*\"", lambda match: "Q" * len(match[0]), line)
    return re.sub(r"(?<=\s)#.*", lambda match: " " * len(match[0]), blank)


def _split(line: str) -> list[str]:
    """The parts of a pipeline."""
    bare = _unquoted(line)
    cuts = [-1, *(place for place, character in enumerate(bare) if character == "|"), len(bare)]
    ends = len(bare.rstrip())
    return [line[start + 1 : min(end, ends)].strip() for start, end in pairwise(cuts)]


def _redirected(line: str) -> tuple[str, str | None]:
    """A `> file` at the end, taken off."""
    found = re.search(r"\s>\s*(\S+)\s*$", _unquoted(line))
    return (line[: found.start()], line[found.start(1) : found.end(1)]) if found else (line, None)
