"""The documentation says what is so: every example runs, every link leads somewhere, nothing is left out."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import docs_blocks
import pytest
from docs_blocks import SHELL, Block, blocks
from run import ROOT

from clipcli import __version__
from clipcli.config.option_defaults import VARIABLES
from clipcli.models import spec

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
WRITTEN = [page for page in PAGES if page.name not in {"cli.md", "api.md", "exit-codes.md"}]
"""Pages written by hand."""
BLOCKS = [block for page in WRITTEN for block in blocks(page)]
RUNNABLE = [page for page in WRITTEN if any(b.language in SHELL | {"python"} and not b.mark for b in blocks(page))]
KNOWN = SHELL | {"python", "json", "jsonl", "toml", "yaml", "text", "xml"}

tiny_needed = pytest.mark.skipif(
    not (spec.TINY_FOLDER / spec.MANIFEST).is_file(), reason="the embedded model is not built"
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has at hand, and the embedded model."""
    docs_blocks.make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPCLI_MODEL", "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.thorough
@tiny_needed
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_of_a_page_runs(page: Path, world: Path):
    environment, wrong = dict(os.environ), []
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks(page):
        if block.mark == "not run":
            continue
        if block.language in SHELL:
            faults = [docs_blocks.execute(command) for command in docs_blocks.commands(block)]
            wrong += [f"{block.where}: {fault}" for fault in faults if fault]
        elif block.language == "python":
            exec(compile(block.text, block.where, "exec"), names)  # noqa: S102 - our own pages
    os.environ.clear()
    os.environ.update(environment)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path):
    named = re.findall(r"\btests/[\w/]+\.py", page.read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.mark], ids=lambda block: block.where)
def test_every_block_is_of_a_kind_that_is_tested(block: Block):
    assert block.language in KNOWN, f"{block.where}: say what it is, or mark it <!-- not run: reason -->"
    info = block.info.split()[1:]
    if block.language == "json" and not info:
        for line in [block.text] if block.text.lstrip().startswith("[") else _objects(block.text):
            json.loads(line)
    elif block.language == "toml":
        tomllib = pytest.importorskip("tomllib")
        tomllib.loads(block.text)
    elif block.language == "yaml":
        yaml = pytest.importorskip("yaml")
        assert yaml.safe_load(block.text)


def _objects(text: str) -> list[str]:
    """One object over several lines, or one a line."""
    return [text] if text.lstrip().startswith("{\n") else [line for line in text.splitlines() if line.strip()]


def test_marks_give_a_reason():
    assert all(len(block.reason) > 5 for block in BLOCKS if block.mark)


@pytest.mark.thorough
def test_generated_pages_are_current():
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_command_is_described_beyond_its_help():
    from clipcli.cli.app import SUMMARIES

    text = "\n".join(page.read_text(encoding="utf-8") for page in WRITTEN)
    missing = [name for name in SUMMARIES if f"clipcli {name}" not in text]
    assert not missing


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path):
    text = docs_blocks._FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path) if path else page
        if "models/tiny" not in path or spec.TINY_FOLDER.joinpath(spec.MANIFEST).is_file():
            assert file.exists(), f"{page.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page.name} links to {target}"


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        waiting += [page.parent / link for link in links if "://" not in link]
    assert {page.resolve() for page in [*PAGES, *(ROOT / "benchmarks" / "results").glob("*.md")]} <= reached


def test_the_map_of_the_code_names_what_is_there():
    """A row of "Where do I change …" leads nowhere otherwise."""
    words = (ROOT / "docs" / "architecture.md").read_text("utf-8") + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    names = set(re.findall(r"`([\w./-]+\.(?:py|md|toml|txt))`", words)) | set(re.findall(r"`(\w+(?:/\w+)*/)`", words))
    missing = [name for name in sorted(names) if not any((base / name).exists() for base in (ROOT, ROOT / "clipcli"))]
    assert [name for name in missing if name != "clipcli.toml" and "NAME" not in name] == []
    packages = set(re.findall(r"`(\w+)/`", words[: words.index("## The path")]))
    own = {path.name for path in (ROOT / "clipcli").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert own == packages, "every package has its row, and no other"


def test_the_classes_of_the_glossary_exist():
    words = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## What things are called")[2]
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "clipcli").rglob("*.py"))
    names = re.findall(r"\(`([A-Z]\w+)`\)", words)
    assert len(names) > 8
    assert [name for name in names if f"class {name}" not in source] == []


def test_the_figures_of_calibration_are_those_that_were_measured():
    found = json.loads((ROOT / "benchmarks" / "results" / "calibration.json").read_text(encoding="utf-8"))
    page = (DOCS / "calibrate.md").read_text(encoding="utf-8")
    for way in found["ways"]:
        decided, f1 = way["right_decisions"][0], way["f1"][0]
        assert f"| {way['thresholds']} | {100 * decided:.1f} % | {f1:.3f} |" in page
    before, after = found["calibration_error"]["before"], found["calibration_error"]["after"]
    assert f"from {before:.3f} to {after:.3f}" in page


def test_every_key_of_the_config_file_has_its_row():
    from clipcli.config.schema import CHECK_KEYS, CHECKS, DEFAULT_KEYS

    for page, keys in (("configuration.md", [*DEFAULT_KEYS, CHECKS]), ("ci.md", CHECK_KEYS)):
        rows = re.findall(r"^\| (`.*?) \|", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert set(keys) <= {key for row in rows for key in re.findall("`([a-z_]+)`", row)}, page


def test_every_library_has_its_licence():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for more in project["optional-dependencies"].values() for line in more)]
    names = {re.split(r"[<>=!;\[ ]", line)[0] for line in wanted} - {"clipcli"}
    table = (DOCS / "licences.md").read_text(encoding="utf-8").partition("**Libraries**")[2].lower().replace("_", "-")
    assert not {name for name in names if not re.search(rf"\b{name.lower().replace('_', '-')}\b", table)}


@pytest.mark.thorough
def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    checker = pytest.importorskip("check_jsonschema", reason="the schema of citations comes with a developer's package")
    command = [
        sys.executable,
        "-m",
        checker.__name__,
        "--builtin-schema",
        "vendor.citation-file-format",
        "CITATION.cff",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def read_variables() -> set[str]:
    """Names that the code reads from the environment: through os.environ, os.getenv and Typer's envvar."""
    found: set[str] = set()
    for path in (ROOT / "clipcli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name.endswith(("environ.get", "getenv")) and isinstance(node.args[0], ast.Constant):
                    found.add(str(node.args[0].value))
                found |= {str(ast.literal_eval(k.value)) for k in node.keywords if k.arg == "envvar"}
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
                found |= {str(node.slice.value)} if isinstance(node.slice, ast.Constant) else set()
            elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("environ"):
                found |= {str(node.left.value)} if isinstance(node.left, ast.Constant) else set()
    return found


@pytest.mark.thorough
def test_every_environment_variable_is_listed_and_read():
    """The list is what docs/configuration.md is written from, and what doctor shows."""
    built = {"CLIPCLI_CACHE_MAX_SIZE", "CLIPCLI_CACHE_DTYPE", "TF_BUILD"}  # read by a name that is put together
    ours, foreign = ({each.name for each in VARIABLES if each.foreign is other} for other in (False, True))
    assert (read_variables() | built) - foreign == ours
