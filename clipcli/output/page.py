"""Write a self-contained page of thumbnails. It makes no requests, and file names cannot become markup or scripts.

A page consists of sections of cards, which the reports of `rank`, `dedupe`, `classify` and `calibrate` provide. Its
Content-Security-Policy allows only pictures from `data:`, and the style sheet and scripts with the given hashes. The
page is complete without scripts; with them it can be sorted and filtered.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from PIL import Image

from clipcli import images
from clipcli.core.console import printable
from clipcli.core.redaction import redact
from clipcli.errors import ImageError
from clipcli.inputs.sources import is_elsewhere
from clipcli.inputs.sources.filesystems import scheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clipcli.images import Rendering
    from clipcli.output.targets import Target

_TOOLS = """<div class="bar"><label>Filter <input id="filter" type="search"></label>
<span id="count" aria-live="polite"></span>
<details id="help"><summary>Keys</summary><span class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move
<kbd>n</kbd><kbd>p</kbd> next and previous heading <kbd>Enter</kbd> open <kbd>+</kbd><kbd>-</kbd> size
<kbd>/</kbd> filter</span></details></div></div>
"""
"""The tool bar; the script adds the fields to sort and filter by."""
Tone = Literal["plain", "good", "bad"]
THUMBNAIL_EDGE = 256
"""Pixels of the longer side: sharp at the size shown on a dense screen, about 10 kB each."""
_QUALITY = 80
_PAPER = (255, 255, 255)
"""The background of transparent pixels."""
_AHEAD = 4
"""Thumbnails per thread that are read ahead."""


@dataclass(frozen=True)
class PageChoice:
    """A file that the user can keep, remove or mark as different; the page saves one line of a plan for it."""

    keep: bool
    rest: str
    """The rest of its line: JSON in ASCII from the comma after `keep` to the closing brace. The page copies it
    literally, since its numbers are too large for JavaScript."""
    at: int
    """Position of its line in the plan, since the page may show groups in another order."""
    folder: str
    """Its folder, as shown."""
    size: int
    """Size in bytes."""
    file: str
    """An id shared by all names of one file, whose bytes are freed with the last name."""
    names: int
    """Number of names on the disk."""
    loose: bool = False
    """Whether it only resembles the file to keep."""
    fixed: bool = False
    """Whether it must be kept."""


@dataclass(frozen=True)
class Saving:
    """The settings with which a page saves choices."""

    name: str
    """Name of the file that the browser saves."""
    key: str
    """Key of the choices in the browser's storage; each plan has its own."""


@dataclass(frozen=True)
class Card:
    """One picture with its name and facts."""

    name: str
    picture: str | None
    """A data URI of a thumbnail, or None."""
    badge: str = ""
    """A word or number in its corner: the rank, `keep`."""
    facts: tuple[str, ...] = ()
    """Short lines under the picture: the score, the size."""
    link: str | None = None
    """The link that Enter opens, from `link_to`."""
    tone: Tone = "plain"
    choice: PageChoice | None = None
    """The choice for it, on a page that saves choices."""
    difference: str | None = None
    """A data URI of the difference from the first picture of its section."""
    label: str = ""
    """The label to filter by; shown with the score unless it is the section's title."""
    score: float | None = None
    """The score to sort by."""
    chart: str = ""
    """An `svg` element in place of the picture."""


@dataclass(frozen=True)
class Section:
    """The cards under one heading: the hits of a query, the members of a group."""

    title: str
    cards: tuple[Card, ...]
    note: str = ""
    pictures: tuple[str, ...] = ()
    """Data URIs shown beside the heading: the images of a query."""
    label: str = ""
    """The label to filter the section by, as a whole."""
    score: float | None = None
    """The score to sort the section by, as a whole."""


def write_page(
    target: Target,
    title: str,
    lead: str,
    sections: Iterable[Section],
    *,
    labels: str = "Label",
    saving: Saving | None = None,
) -> None:
    """Write a page section by section, with one section in memory.

    Args:
        target: the output.
        title: the heading.
        lead: the text below the heading.
        sections: the sections, as they come.
        labels: the page's name for labels, where it filters by them.
        saving: the settings for a page that saves choices as a plan.

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
    """Return a relative link from the page's folder to a file, so that both can move together; None without a page."""
    if page is None or page == "-":
        return None
    if is_elsewhere(path):  # a browser opens web addresses, but nothing inside an archive
        return redact(path) if scheme(path) in {"http", "https"} else None
    try:
        relative = os.path.relpath(path, os.path.dirname(page) or ".")  # noqa: PTH120 - any bytes included
    except ValueError:  # another drive
        return None
    return "./" + quote(os.fsencode(relative).replace(os.fsencode(os.sep), b"/"), safe="/")


def escaped(text: str) -> str:
    """Return text escaped for an element or attribute, without control characters."""
    return html.escape(printable(text), quote=True)


def _section(section: Section) -> Iterator[str]:
    images = "".join(f'<img src="{escaped(uri)}" alt="">' for uri in section.pictures)
    note = f'<p class="note">{escaped(section.note)}</p>' if section.note else ""
    yield f"<section{_order(section.label, section.score)}><h2>{images}<span>{escaped(section.title)}</span></h2>{note}"
    yield '<ol class="cards">\n'
    for card in section.cards:
        order = _order(card.label, card.score)
        yield f"<li{order}{_choice(card.choice)}>{_card(card, titled=card.label == section.title)}</li>\n"
    yield "</ol></section>\n"


def _order(label: str, score: float | None) -> str:
    """Return the attributes by which the page sorts and filters."""
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
    """Return one card; `titled` means that the heading already shows its label."""
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
    if card.chart:
        return f'<span class="chart">{card.chart}</span>'
    if card.picture is None:
        return '<span class="picture"><span class="missing">no picture</span></span>'
    picture = f'<img src="{escaped(card.picture)}" alt="{escaped(card.name)}" loading="lazy" decoding="async">'
    return f'<span class="picture">{picture}</span>'


def _name(name: str) -> str:
    """Return the name with its folder in a separate element, so that the end of a long path stays visible."""
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


def thumbnail(image: Image.Image, edge: int = THUMBNAIL_EDGE) -> str:
    """Return a JPEG data URI of an image of any mode, its longer side at most `edge` pixels.

    Transparency becomes white.
    """
    shrink = min(1.0, edge / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA").resize(size, reducing_gap=2.0)
        small = Image.new("RGB", size, _PAPER)
        small.paste(rgba, mask=rgba.getchannel("A"))
    else:
        small = image.convert("RGB").resize(size, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def read_thumbnail(path: str, *, orient: bool = True, rendering: Rendering = images.ON_WHITE) -> str | None:
    """Return the data URI of a file, or None if it cannot be read."""
    draft = (2 * THUMBNAIL_EDGE, 2 * THUMBNAIL_EDGE)
    try:
        return thumbnail(images.decode(images.read(path), orient=orient, draft=draft, rendering=rendering))
    except (ImageError, OSError, ValueError):
        return None


def read_thumbnails(paths: Iterable[str], *, orient: bool = True) -> Iterator[str | None]:
    """Yield the data URI of each file, in order; as many threads read ahead as there are processors."""
    threads = os.cpu_count() or 1
    read_picture, waiting = partial(read_thumbnail, orient=orient), iter(paths)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(read_picture, path) for path in islice(waiting, _AHEAD * threads))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(read_picture, path) for path in islice(waiting, 1))
