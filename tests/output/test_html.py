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
    assert chromium.evaluate(f"{pictures}.map(i => i.complete && i.naturalWidth > 0)") == [True] * 3
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
