"""The keys of a config file with the types of their values, and the dataclasses they become."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clipcli.core.decode import DecodeError, parse_toml
from clipcli.core.files import split_name
from clipcli.errors import did_you_mean
from clipcli.inputs.text_files import Fault, escape, quoted, tidy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KeyPath = tuple[str, ...]
_HEADER = re.compile(r"\s*\[\[?(?P<name>[^\[\]]+)\]\]?\s*(#.*)?$")
_PAIR = re.compile(r"""\s*(?P<key>(?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""")
_MULTILINE_QUOTE = re.compile(r'"""|\'\'\'')


def lines_of(text: str) -> Mapping[KeyPath, int]:
    """Return the line number, from 1, of each table and key; keys of inline tables are not included."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in _outside_strings(text):
        if header := _HEADER.match(line):
            table = named = _parse_keys(header["name"])
        elif pair := _PAIR.match(line):
            named = (*table, *_parse_keys(pair["key"]))
        else:
            continue
        for end in range(1, len(named) + 1):
            lines.setdefault(named[:end], number)
    return lines


def line_of(lines: Mapping[KeyPath, int], key_path: KeyPath) -> int | None:
    """Return the line of a key, or of the nearest enclosing table with a line."""
    return next((lines[key_path[:end]] for end in range(len(key_path), 0, -1) if key_path[:end] in lines), None)


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines that do not start inside a multi-line string."""
    open_quote: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if open_quote is None:
            yield number, line
        for mark in _MULTILINE_QUOTE.findall(line):
            open_quote = mark if open_quote is None else None if mark == open_quote else open_quote


def _parse_keys(written: str) -> KeyPath:
    """Return the parts of a dotted key, with quotes and escapes decoded by the TOML parser."""
    try:
        node: Any = parse_toml(f"{written} = 0")
    except DecodeError:
        return ()
    keys: list[str] = []
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        keys.append(key)
    return tuple(keys)


Kind = Literal["text", "texts", "labels", "share", "cosine", "count", "flag", "level", "limits"]
CHECKS = "checks"
LEVELS = ("exact", "near", "edited", "similar")

DEFAULT_KEYS: Mapping[str, Kind] = {
    "model": "text",
    "device": "text",
    "precision": "text",
    "engine": "text",
    "offline": "flag",
    "weights_dir": "text",
    "prompts": "texts",
    "format": "text",
    "batch_size": "count",
    "workers": "count",
}
CHECK_KEYS: Mapping[str, Kind] = {
    "include": "texts",
    "exclude": "texts",
    "labels": "labels",
    "labels_file": "texts",
    "prompts": "texts",
    "model": "text",
    "expect": "text",
    "expect_from": "text",
    "forbid": "texts",
    "duplicates": "level",
    "head": "texts",
    "min": "limits",
    "max": "limits",
    "pairs": "texts",
    "image": "text",
    "text": "text",
    "min_score": "cosine",
    "fail_under": "share",
    "min_accuracy": "share",
    "threshold": "share",
    "thresholds": "text",
    "none": "text",
    "background": "texts",
    "multi_label": "flag",
    "groups": "text",
}
LABEL_KEYS = (
    "labels", "labels_file", "prompts", "min_accuracy", "threshold", "thresholds", "none", "background", "multi_label",
    "groups",
)  # fmt: skip
"""Keys that need an expectation about labels."""
PAIR_KEYS = ("min_score", "image", "text", "fail_under")
"""Keys that need `pairs`."""
KEYS_WITHOUT_PAIRS = ("include", "exclude", "expect", "expect_from", "forbid", "duplicates", "head", "min", "max")
"""Keys that do not go with `pairs`, besides those of labels other than prompts."""
_EXPECTED_KINDS: Mapping[Kind, str] = {
    "text": "a text",
    "texts": "a text or a list of texts",
    "labels": "a list of texts",
    "share": "a number from 0 to 1",
    "cosine": "a number from -1 to 1",
    "count": "an integer above 0",
    "flag": "true or false",
    "level": f"one of {', '.join(LEVELS)}",
    "limits": "a table of scores and numbers, as { aesthetic = 5 }",
}


@dataclass(frozen=True)
class ConfigFaults:
    """Collects the faults of a config file."""

    source: str
    section: KeyPath
    """The table of clipcli's section in the file."""
    lines: Mapping[KeyPath, int]
    is_named: bool = True
    """True if the user named the file; a file that clipcli found by itself may set less."""
    entries: list[Fault] = field(default_factory=list)

    def line(self, key_path: KeyPath) -> int | None:
        """Return the line of a key or table in clipcli's section."""
        return line_of(self.lines, (*self.section, *key_path))

    def add(self, key_path: KeyPath, problem: str, suggestion: str = "") -> None:
        """Add a fault."""
        self.entries.append(Fault(self.source, self.line(key_path), problem, suggestion))

    def in_order(self) -> list[Fault]:
        """Return the faults by line."""
        return sorted(self.entries, key=lambda fault: fault.line or 0)

    def values(
        self, key_path: KeyPath, table: Mapping[str, Any], keys: Mapping[str, Kind], other_keys: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the checked values of a table by key.

        Unknown keys and values of the wrong type are added to the faults.
        """
        values: dict[str, Any] = {}
        for key, raw in table.items():
            if key not in keys:
                hint = did_you_mean(key, (*keys, *other_keys)) or "one of " + ", ".join((*keys, *other_keys))
                self.add((*key_path, key), f"unknown key {quoted(key)}", hint)
                continue
            value = _parse_value(raw, keys[key])
            if value is None:
                self.add((*key_path, key), f"{key} should be {_EXPECTED_KINDS[keys[key]]}, not {quoted(str(raw))}")
            else:
                values[key] = value
        return values


def _parse_value(raw: object, kind: Kind) -> object:  # noqa: PLR0911 - one return per kind
    """Return the value, or None if it is of another kind; true is not a number."""
    match kind:
        case "text":
            return raw if isinstance(raw, str) and raw.strip() else None
        case "texts":
            texts = [raw] if isinstance(raw, str) else raw
            good = isinstance(texts, list) and all(isinstance(text, str) and text.strip() for text in texts)
            return tuple(texts) if good and isinstance(texts, list) and texts else None
        case "labels":
            return _parse_labels(raw)
        case "flag":
            return raw if isinstance(raw, bool) else None
        case "level":
            return raw if raw in LEVELS else None
        case "limits":
            return _parse_limits(raw)
        case "count":
            return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else None
    number = float(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) else None
    lowest = -1 if kind == "cosine" else 0
    return number if number is not None and lowest <= number <= 1 else None


def _parse_labels(raw: object) -> tuple[str, ...] | None:
    """Return labels as for `-l`; in a list, each text is one label and may contain commas."""
    if isinstance(raw, str):
        return (raw,) if raw.strip() else None
    if not isinstance(raw, list) or not raw or not all(isinstance(label, str) and label.strip() for label in raw):
        return None
    return tuple(escape(tidy(label), ",") for label in raw)


def _parse_limits(raw: object) -> dict[str, float] | None:
    """Return numbers by the names of their scores; a bare dotted key, which TOML reads as nested tables, is a name."""
    if not isinstance(raw, dict) or not raw:
        return None
    limits: dict[str, float] = {}
    for key, value in raw.items():
        if isinstance(value, dict):
            inner = _parse_limits(value)
            if inner is None:
                return None
            limits |= {f"{key}.{name}": number for name, number in inner.items()}
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        else:
            limits[key] = float(value)
    return limits


DuplicateLevel = Literal["exact", "near", "edited", "similar"]


@dataclass(frozen=True)
class Defaults:
    """Defaults of options; None keeps the program's own default."""

    model: str | None = None
    device: str | None = None
    precision: str | None = None
    engine: str | None = None
    offline: bool | None = None
    weights_dir: str | None = None
    prompts: tuple[str, ...] = ()
    format: str | None = None
    batch_size: int | None = None
    workers: int | None = None


@dataclass(frozen=True)
class CheckSpec:
    """One check with the keys of the file; file names in it are still as written."""

    name: str
    line: int | None
    """Its first line in the file, for messages."""
    include: tuple[str, ...]
    """Patterns as in .gitignore, relative to the file's folder."""
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Values as for `-l`."""
    labels_file: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    model: str | None = None
    expect: str | None = None
    expect_from: str | None = None
    """`parent`, or a .csv or .jsonl file."""
    forbid: tuple[str, ...] = ()
    duplicates: DuplicateLevel | None = None
    """The level at which no two images may be the same."""
    head: tuple[str, ...] = ()
    """Values as for `--head`."""
    min: Mapping[str, float] = field(default_factory=dict)
    """The lowest score allowed, by the name of the score."""
    max: Mapping[str, float] = field(default_factory=dict)
    """The highest score allowed, by the name of the score."""
    pairs: tuple[str, ...] = ()
    """Shards, tables and folders of images with texts, as for `score`."""
    image: str | None = None
    """Column of tables with images."""
    text: str | None = None
    """Column of tables with texts, or the extension of text files."""
    min_score: float | None = None
    """The lowest similarity of an image and its text, from -1 to 1."""
    fail_under: float | None = None
    """The share of pairs that must reach `min_score`, from 0 to 1; None for all."""
    min_accuracy: float | None = None
    """A number from 0 to 1."""
    threshold: float | None = None
    thresholds: str | None = None
    """A file of `clipcli calibrate`."""
    none: str | None = None
    background: tuple[str, ...] = ()
    multi_label: bool = False
    groups: str | None = None

    @property
    def has_labels(self) -> bool:
        """Return whether it names the labels to choose from; files of thresholds and heads of `fit` do so too."""
        return bool(self.labels or self.labels_file or self.thresholds or self.head)

    @property
    def names_labels(self) -> bool:
        """Return whether it has an expectation about labels."""
        return self.expect is not None or self.expect_from is not None or bool(self.forbid)

    @property
    def limits_scores(self) -> bool:
        """Return whether it has limits for the scores of predictors."""
        return bool(self.min or self.max)


@dataclass(frozen=True)
class Config:
    """The content of a config file, or of none."""

    path: str | None = None
    """The file's name in messages; None without a file."""
    folder: str = ""
    """The file's folder, to which patterns and file names are relative."""
    defaults: Defaults = field(default_factory=Defaults)
    checks: tuple[CheckSpec, ...] = ()

    @property
    def weights_dir(self) -> str | None:
        """Return `weights_dir` relative to the working folder; it may not exist yet."""
        name = self.defaults.weights_dir
        return os.path.join(self.folder, name) if name else None  # noqa: PTH118

    def beside(self, name: str) -> str:
        """Return a file name of the config relative to the working folder; other names stay as they are."""
        path = os.path.join(self.folder, name)  # noqa: PTH118 - any bytes included
        return path if os.path.exists(path) else name  # noqa: PTH110 - never raises

    def head_beside(self, argument: str) -> str:
        """Return `FILE` or `NAME=FILE` with the file relative to the working folder."""
        name, path = split_name(argument)
        return f"{name}={self.beside(path)}" if name else self.beside(path)

    def model_beside(self, name: str) -> str:
        """Return a model name with its path relative to the working folder: FOLDER, `local-dir:PATH`, `ARCH@FILE`."""
        if name.startswith("local-dir:"):
            return "local-dir:" + self.beside(name.removeprefix("local-dir:"))
        architecture, at, checkpoint = name.partition("@")
        if at and not name.startswith("hf-hub:"):
            return f"{architecture}@{self.beside(checkpoint)}"
        return self.beside(name)

    def location(self, check: CheckSpec) -> str:
        """Return the position of a check, such as `clipcli.toml:12`."""
        return f"{self.path}:{check.line}" if check.line else str(self.path)
