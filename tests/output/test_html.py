from __future__ import annotations

import re

import browser
import pytest
from pictures import disc, square
from PIL import Image

from clipcli.output.page import Card, Section, escaped, link_to, thumbnail, write_page
from clipcli.output.targets import open_target

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror="document.title=1">\x1b[31m\u202egpj.\n.png'


def page(path, *sections, title="t", lead="l"):
    with open_target(str(path)) as target:
        write_page(target, title, lead, sections)
    return path.read_text("utf-8")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I", "F", "CMYK", "I;16", "LAB", "HSV", "YCbCr"])
def test_a_thumbnail_of_every_mode(mode):
    image = Image.new(mode, (600, 20))
    assert thumbnail(image).startswith("data:image/jpeg;base64,/9j/")
    assert image.size == (600, 20)


def test_transparency_is_white():
    import base64
    import io

    uri = thumbnail(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    data = base64.b64decode(uri.split(",")[1])
    assert Image.open(io.BytesIO(data)).getpixel((4, 4)) == (255, 255, 255)


def test_a_name_is_text_wherever_it_stands(tmp_path):
    card = Card(HOSTILE, None, badge=HOSTILE, facts=(HOSTILE,), link=link_to(HOSTILE, str(tmp_path / "p.html")))
    html = page(tmp_path / "p.html", Section(HOSTILE, (card,), note=HOSTILE), title=HOSTILE, lead=HOSTILE)
    assert html.count("<script") == 1
    assert html.count("<img") == 0
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_links_are_relative_and_quoted(tmp_path):
    page_path = str(tmp_path / "out" / "p.html")
    assert link_to(str(tmp_path / "a b#c?d%.jpg"), page_path) == "./../a%20b%23c%3Fd%25.jpg"
    assert link_to(str(tmp_path / "out" / "javascript:alert(1)"), page_path) == "./javascript%3Aalert%281%29"
    assert link_to(str(tmp_path / "caf\udce9.jpg"), page_path) == "./../caf%E9.jpg"
    assert link_to("a.jpg", None) is None


def test_undecodable_names_are_shown_with_escapes():
    assert escaped("caf\udce9 & <b>") == "caf\\xe9 &amp; &lt;b&gt;"


def test_the_policy_names_the_very_script_and_style(tmp_path):
    import base64
    import hashlib

    html = page(tmp_path / "p.html", Section("s", ()))
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in html
    assert "unsafe" not in html


def cards(*names, link=None):
    pictures = [thumbnail(draw(colour)) for draw in (disc, square) for colour in ("red", "blue")]
    return tuple(
        Card(name, pictures[place % 4], badge=str(place + 1), facts=("0.3",), link=link)
        for place, name in enumerate(names)
    )


def test_a_browser_shows_every_thumbnail_and_asks_for_nothing(chromium, tmp_path):
    hostile = Card(HOSTILE, thumbnail(disc("red")), badge="<b>", facts=("<script>1</script>",))
    shown = (*cards("a.png", "b.png"), hostile, Card("gone.png", None))
    page(tmp_path / "p.html", Section(HOSTILE, shown), title="all")
    chromium.requested()
    chromium.open(tmp_path / "p.html")
    pictures = "Array.from(document.querySelectorAll('.card img'))"
    loaded = f"{pictures}.map(i => i.complete && i.naturalWidth > 0)"
    assert chromium.wait_until(loaded, [True] * 3) == [True] * 3
    assert chromium.requested() == [(tmp_path / "p.html").as_uri()]
    assert chromium.evaluate("document.title") == "all"
    assert chromium.complaints() == []


def test_a_script_that_came_in_would_not_run(chromium, tmp_path):
    html = page(tmp_path / "p.html", Section("s", cards("a.png")), title="safe")
    alien = '<script>document.title="owned"</script><img src="http://127.0.0.1:9/x" onerror="document.title=`owned`">'
    (tmp_path / "p.html").write_text(html.replace("</main>", alien + "</main>"), "utf-8")
    chromium.requested()
    chromium.open(tmp_path / "p.html")
    assert chromium.evaluate("document.title") == "safe"
    assert chromium.requested() == [(tmp_path / "p.html").as_uri()]
    assert any("Content Security Policy" in message for message in chromium.complaints())


@pytest.mark.thorough
def test_keys_move_the_focus(chromium, tmp_path):
    names = [f"{n}.png" for n in range(9)]
    second = Section("two", cards("x.png", "y.png", link="./p.html#hit"))
    page(tmp_path / "p.html", Section("one", cards(*names)), second)
    chromium.open(tmp_path / "p.html")
    focused = "document.activeElement.querySelector('.name').textContent"

    def press(*keys, lands_on):
        chromium.press(*keys)
        assert chromium.wait_until(focused, lands_on) == lands_on

    press(browser.ARROW_RIGHT, lands_on="0.png")
    press(browser.ARROW_RIGHT, browser.ARROW_RIGHT, lands_on="2.png")
    press(browser.ARROW_LEFT, lands_on="1.png")
    template = "getComputedStyle(document.querySelector('.cards')).gridTemplateColumns"
    columns = len(chromium.evaluate(template).split())
    press(browser.ARROW_DOWN, lands_on=f"{1 + columns}.png")
    press(browser.ARROW_UP, lands_on="1.png")
    press("n", lands_on="x.png")
    press("p", lands_on="0.png")
    before = chromium.evaluate("document.querySelector('.picture').offsetHeight")
    chromium.press("+")
    assert chromium.evaluate("document.querySelector('.picture').offsetHeight") > before
    chromium.press("/", "y", "\ue007")
    assert chromium.evaluate(focused) == "y.png"
    assert chromium.evaluate("document.querySelectorAll('li:not([hidden])').length") == 1
    chromium.press("\ue007")
    assert chromium.evaluate("location.hash") == "#hit"


RATED = (
    Section("cat", (Card("a.png", None, label="cat", score=0.9), Card("b.png", None, label="cat", score=0.4))),
    Section("dog", (Card("c.png", None, label="dog", score=0.7), Card("d.png", None, label="dog"))),
)
SHOWN = "Array.from(document.querySelectorAll('section:not([hidden]) .file')).map(each => each.textContent).join(' ')"


def enter(chromium, control: str, value: str) -> str:
    """Put a value into a control of the page; the files that are shown then."""
    script = "(({0}) => {{ {0}.value = '{1}'; {0}.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
    chromium.evaluate(f"{script.format('one', value)}(document.getElementById('{control}'))")
    return chromium.evaluate(SHOWN)


def test_cards_are_sorted_and_filtered_by_label_and_score(chromium, tmp_path):
    page(tmp_path / "p.html", *RATED)
    chromium.open(tmp_path / "p.html")
    assert chromium.evaluate(SHOWN) == "a.png b.png c.png d.png"
    assert enter(chromium, "sort", "low") == "b.png a.png c.png d.png"
    assert enter(chromium, "label", "2") == "c.png d.png"
    assert chromium.evaluate("document.getElementById('count').textContent") == "2 of 4"
    assert enter(chromium, "label", "") == "b.png a.png c.png d.png"
    assert enter(chromium, "least", "0.5") == "a.png c.png"  # what has no score has none above it
    assert enter(chromium, "most", "0.8") == "c.png"
    assert enter(chromium, "filter", "CAT") == ""
    chromium.click("#filter")
    chromium.press(browser.ESCAPE)
    enter(chromium, "least", "")
    assert enter(chromium, "most", "") == "b.png a.png c.png d.png"
    chromium.click("#together")
    assert chromium.evaluate(SHOWN) == "b.png c.png a.png d.png"
    chromium.press("?")
    assert chromium.evaluate("document.getElementById('help').open")
    assert enter(chromium, "sort", "high") == "a.png c.png b.png d.png"
    chromium.click("#together")
    assert enter(chromium, "sort", "") == "a.png b.png c.png d.png"
    assert chromium.evaluate("document.getElementById('count').textContent") == ""


def test_failing_cards_can_be_shown_alone(chromium, tmp_path):
    page(tmp_path / "p.html", Section("s", (Card("a.png", None, tone="good"), Card("b.png", None, tone="bad"))))
    chromium.open(tmp_path / "p.html")
    assert enter(chromium, "verdict", "bad") == "b.png"
    assert enter(chromium, "verdict", "good") == "a.png"
    assert chromium.evaluate("document.getElementById('least') || document.getElementById('label')") is None


def test_sections_that_are_rated_stay_whole(chromium, tmp_path):
    groups = [Section(f"Group {n}", cards(f"{n}.png", "x.png"), label=level, score=score)
              for n, level, score in ((1, "near", 0.9), (2, "exact", 1.0), (3, "near", 0.5))]  # fmt: skip
    page(tmp_path / "p.html", *groups)
    chromium.open(tmp_path / "p.html")
    assert enter(chromium, "sort", "low") == "3.png x.png 1.png x.png 2.png x.png"
    assert enter(chromium, "label", "2") == "3.png x.png 1.png x.png"
    assert enter(chromium, "most", "0.6") == "3.png x.png"


@pytest.mark.parametrize(("scheme", "colour"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
def test_the_page_is_light_or_dark_as_the_reader_likes(chromium, tmp_path, scheme, colour):
    page(tmp_path / "p.html", *RATED)
    chromium.prefer(scheme)
    chromium.open(tmp_path / "p.html")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == colour


@pytest.mark.thorough
def test_of_2000_pictures_only_those_on_the_screen_are_laid_out(chromium, tmp_path):
    page(tmp_path / "p.html", Section("s", cards(*(f"{n}.png" for n in range(2000)))))
    chromium.open(tmp_path / "p.html")
    pictures = "Array.from(document.querySelectorAll('.picture img'))"
    visible = f"{pictures}.map(one => one.checkVisibility({{contentVisibilityAuto: true}}))"
    first = chromium.evaluate(visible)
    assert len(first) == 2000
    assert first[0]
    assert sum(first) < 500
    chromium.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert chromium.wait_until(f"{visible}[1999]", True)
    assert not chromium.evaluate(f"{visible}[0]")
    assert enter(chromium, "filter", "1999") == "1999.png"
