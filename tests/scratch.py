"""A scratch repository of fifty drawn pictures, three of them in the wrong folder."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import colour_model
import pictures

PICTURES = 50
WRONG = ("shop/blue/06.png", "shop/green/13.png", "shop/yellow/39.png")
"""They show a red thing."""
CONFIG = """\
model = "models/colours"
offline = true

[checks.shop]
include = ["shop/"]
labels = ["red", "green", "blue", "yellow"]
expect_from = "parent"
prompts = ["plain"]
"""


@dataclass(frozen=True)
class Scratch:
    """The repository's folder."""

    root: Path

    def git(self, *arguments: str) -> str:
        """Run git in it, as nobody in particular and with nobody's settings."""
        who = {
            f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(
            command, env=os.environ | who | settings, check=True, capture_output=True, text=True
        ).stdout

    def commit(self, message: str = "more") -> str:
        """Commit everything; the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def draw(self, name: str, colour: str) -> None:
        """Draw one picture, unlike any other of its colour."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        number = int(path.stem) if path.stem.isdigit() else 0
        shape = pictures.disc if number % 2 else pictures.square
        shape(colour, (64 + number, 60)).save(path, "PNG")

    def mend(self) -> None:
        """Draw the three wrong pictures as they should be."""
        for name in WRONG:
            self.draw(name, name.split("/")[1])


def make(root: Path) -> Scratch:
    """The whole repository, committed."""
    scratch = Scratch(root)
    root.mkdir(exist_ok=True)
    colours = list(pictures.COLOURS)
    for number in range(PICTURES):
        scratch.draw(f"shop/{colours[number % 4]}/{number:02}.png", colours[number % 4])
    for name in WRONG:
        scratch.draw(name, "red")
    colour_model.save(root / "models" / "colours")
    (root / "clipcli.toml").write_text(CONFIG, encoding="utf-8")
    scratch.git("init", "-q", "-b", "main")
    scratch.commit("fifty pictures")
    return scratch
