"""One self-contained page of thumbnails: no request leaves it, and no file name can become markup or script.

Sections of cards are all it knows; the reports of `rank`, `dedupe`, `classify` and `calibrate` fill them in. What the
page may do is said by its Content-Security-Policy: pictures from `data:`, and the style sheet and the scripts whose
hashes it names. Without scripts it shows everything all the same; with them it can be sorted and filtered.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.inputs.sources import is_elsewhere
from clipcli.inputs.sources.filesystems import scheme
from clipcli.output.charts import draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.output.charts import Chart
    from clipcli.output.targets import Target

_TOOLS = """<div class="bar"><label>Filter <input id="filter" type="search"></label>
<span id="count" aria-live="polite"></span>
<details id="help"><summary>Keys</summary><span class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move
<kbd>n</kbd><kbd>p</kbd> next and previous heading <kbd>Enter</kbd> open <kbd>+</kbd><kbd>-</kbd> size
<kbd>/</kbd> filter</span></details></div></div>
"""
"""The script adds what the page's cards can be sorted and filtered by."""
Tone = Literal["plain", "good", "bad"]


@dataclass(frozen=True)
class PageChoice:
    """A file that is kept, removed or called different on the page; the page saves a line of a plan for each."""

    keep: bool
    rest: str
    """The rest of its line: JSON in ASCII from the comma behind `keep` to the closing brace. The page repeats it letter
    for letter, since its numbers are larger than a browser can hold."""
    at: int
    """Place of its line in the plan: the page may show groups in another order."""
    folder: str
    """Where it lies, as it is shown."""
    size: int
    """Bytes."""
    file: str
    """The same for all names of one file, whose bytes are freed when all of them go."""
    names: int
    """How many there are on the disk."""
    loose: bool = False
    """It only looks like the file that is kept."""
    fixed: bool = False
    """Nothing can be chosen: it stays."""


@dataclass(frozen=True)
class Saving:
    """How a page saves what was chosen."""

    name: str
    """Of the file that the browser writes."""
    key: str
    """Under which the browser remembers what was chosen: another plan has another key."""


@dataclass(frozen=True)
class Card:
    """One picture with what is said of it."""

    name: str
    picture: str | None
    """A data URI of a thumbnail; None where there is no picture to show."""
    badge: str = ""
    """A word or number in its corner: the rank, `keep`."""
    facts: tuple[str, ...] = ()
    """Short lines under the picture: the score, the size."""
    link: str | None = None
    """Where Enter leads, from `link_to`."""
    tone: Tone = "plain"
    choice: PageChoice | None = None
    """What can be chosen for it, on a page that saves choices."""
    difference: str | None = None
    """A data URI: how the picture differs from the first of its section."""
    label: str = ""
    """What it can be filtered by; shown with the score unless it is the section's title."""
    score: float | None = None
    """What it can be sorted by."""
    chart: Chart | None = None
    """A drawing in place of the picture."""


@dataclass(frozen=True)
class Section:
    """What belongs together under one heading: the hits of a query, the members of a group."""

    title: str
    cards: tuple[Card, ...]
    note: str = ""
    pictures: tuple[str, ...] = ()
    """Data URIs shown beside the heading: the images of a query."""
    label: str = ""
    """What it can be filtered by as a whole, where its cards belong together."""
    score: float | None = None
    """What it can be sorted by as a whole."""


def write_page(
    target: Target,
    title: str,
    lead: str,
    sections: Iterable[Section],
    *,
    labels: str = "Label",
    saving: Saving | None = None,
) -> None:
    """Write a whole page, section by section as they come, so that no more than one is in memory.

    `labels` is what the page calls its labels where it offers them. With `saving` it can save what was chosen on its
    cards as a plan.

    Raises:
        OutputError: the target cannot be written.
    """
    scripts = ("page.js", "choices.js") if saving else ("page.js",)
    target.write(_head(title, lead, labels, scripts, saving).encode("utf-8"))
    for section in sections:
        for piece in _section(section):
            target.write(piece.encode("utf-8"))
    target.write(_foot(scripts).encode("utf-8"))


def link_to(path: str, page: str | None) -> str | None:
    """Return a link from the page's folder to a file, relative, so that both can move together.

    None without a page file.
    """
    if page is None or page == "-":
        return None
    if is_elsewhere(path):  # a browser opens addresses of the web, and nothing within an archive
        return redact(path) if scheme(path) in {"http", "https"} else None
    try:
        relative = os.path.relpath(path, os.path.dirname(page) or ".")  # noqa: PTH120 - any bytes included
    except ValueError:  # another drive
        return None
    return "./" + quote(os.fsencode(relative).replace(os.fsencode(os.sep), b"/"), safe="/")


def escaped(text: str) -> str:
    """Text that stays text, in an element or an attribute; characters that steer a display are spelt out."""
    return html.escape(printable(text), quote=True)


def _section(section: Section) -> Iterator[str]:
    shown = "".join(f'<img src="{escaped(uri)}" alt="">' for uri in section.pictures)
    note = f'<p class="note">{escaped(section.note)}</p>' if section.note else ""
    yield f"<section{_order(section.label, section.score)}><h2>{shown}<span>{escaped(section.title)}</span></h2>{note}"
    yield '<ol class="cards">\n'
    for card in section.cards:
        order = _order(card.label, card.score)
        yield f"<li{order}{_choice(card.choice)}>{_card(card, titled=card.label == section.title)}</li>\n"
    yield "</ol></section>\n"


def _order(label: str, score: float | None) -> str:
    """Return what the page sorts and filters by."""
    written = f' data-label="{escaped(label)}"' if label else ""
    return written if score is None else f'{written} data-score="{score:.6g}"'


def _choice(choice: PageChoice | None) -> str:
    if choice is None:
        return ""
    data = {
        "keep": str(choice.keep).lower(), "rest": choice.rest, "at": choice.at, "folder": choice.folder,
        "bytes": choice.size, "file": choice.file, "names": choice.names, "loose": str(choice.loose).lower(),
    }  # fmt: skip
    written = "".join(f' data-{name}="{escaped(str(value))}"' for name, value in data.items())
    return written + (" data-fixed" if choice.fixed else "")


def _card(card: Card, *, titled: bool) -> str:
    """Return one card; with `titled` its label stands above it already, and is shown only where that is not so."""
    parts = [f'<span class="badge">{escaped(card.badge)}</span>'] if card.badge else []
    parts.append(_picture(card))
    if card.difference is not None:
        parts.append(f'<img class="difference" src="{escaped(card.difference)}" alt="its difference" loading="lazy">')
    if card.label or card.score is not None:
        score = "" if card.score is None else f"<span>{card.score:.4f}</span>"
        mark = ' class="titled"' if titled else ""
        parts.append(f'<span class="answer"><b{mark}>{escaped(card.label)}</b>{score}</span>')
    parts += [f'<span class="fact">{escaped(fact)}</span>' for fact in card.facts]
    parts.append(_name(card.name))
    tag, link = ("div", "") if card.link is None else ("a", f' href="{escaped(card.link)}"')
    return f'<{tag} class="card {card.tone}" tabindex="-1"{link}>{"".join(parts)}</{tag}>'


def _picture(card: Card) -> str:
    if card.chart is not None:
        return f'<span class="chart">{draw(card.chart)}</span>'
    if card.picture is None:
        return '<span class="picture"><span class="missing">no picture</span></span>'
    picture = f'<img src="{escaped(card.picture)}" alt="{escaped(card.name)}" loading="lazy" decoding="async">'
    return f'<span class="picture">{picture}</span>'


def _name(name: str) -> str:
    """Return the name with its folder apart: of a long path, the end is what tells files apart."""
    folder, slash, file = name.rpartition("/") if "/" in name else name.rpartition(os.sep)
    above = f'<span class="folder"><bdi>{escaped(folder + slash)}</bdi></span>' if slash else ""
    return f'<span class="name" title="{escaped(name)}">{above}<span class="file">{escaped(file)}</span></span>'


def _head(title: str, lead: str, labels: str, scripts: tuple[str, ...], saving: Saving | None) -> str:
    data = f' data-saved="{escaped(saving.name)}" data-key="{escaped(saving.key)}"' if saving else ""
    style = _part("page.css")
    allowed = " ".join(f"'{_digest(_part(script))}'" for script in scripts)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body{data}>\n"
        f"<header><h1>{escaped(title)}</h1><p>{escaped(lead)}</p></header>\n"
        f'<div class="tools" data-labels="{escaped(labels)}">{_TOOLS}'
        "<main>\n"
    )


def _foot(scripts: tuple[str, ...]) -> str:
    run = "".join(f"<script>{_part(script)}</script>\n" for script in scripts)
    return f"</main>\n{run}</body>\n</html>\n"


@cache
def _part(name: str) -> str:
    return resources.files("clipcli.output").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
