"""A start with everything kept: the model is neither opened nor imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from run import Result, run_script

from clipcli.inputs.sources.refs import has_suffix
from clipcli.runs.classify.validate import _MAY_HOLD_VECTORS
from clipcli.vectorfiles.vector_formats import _BY_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

WATCHED = """
import json
import sys
opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
from clipcli.cli import app
try:
    app(prog_name="clipcli")
except SystemExit as stop:
    model = [path for path in opened if path.endswith((".onnx", ".data", ".safetensors", ".bin", "tokenizer.json"))]
    engines = {"torch", "open_clip", "onnxruntime", "tokenizers", "transformers", "timm"} & set(sys.modules)
    print(json.dumps([stop.code or 0, sorted(model), sorted(engines)]))
"""
"""The command; its last line has the exit code, the files of models that were opened, and the engines in memory."""


def start(*arguments: str | Path) -> tuple[Result, tuple[int, list[str], list[str]]]:
    result = run_script(WATCHED, *arguments)
    assert result.lines, result.stderr
    code, model, engines = json.loads(result.lines[-1])
    return result, (code, model, engines)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "command", [("classify", "-l", "disc,square"), ("rank", "-e", "a red disc"), ("embed",)], ids=lambda value: value[0]
)
@pytest.mark.parametrize("engine", ["onnx", pytest.param("openclip", marks=pytest.mark.slow)])
def test_nothing_of_the_model_is_opened(command: tuple[str, ...], engine: str, folder: Path, random_model: str):
    name, *options = command
    model = "tiny" if engine == "onnx" else random_model
    call = (name, folder, *options, "-m", model, "--engine", engine, "-f", "jsonl")
    first, (code, opened, engines) = start(*call)
    assert code == 0, first.stderr
    assert opened
    assert engines
    second, again = start(*call)
    assert again == (0, [], []), second.stderr
    assert second.lines[:-1] == first.lines[:-1]


def test_a_start_imports_only_what_it_uses(folder: Path):
    """Each of these modules is for runs with a config file, a list, a download, a report or a new output file."""
    script = WATCHED + "    print(*sys.modules)"
    result = run_script(script, "classify", folder, "-l", "disc,square", "-m", "tiny", "--offline", "-q")
    unused = {
        "clipcli.config.load", "clipcli.config.schema", "clipcli.hub.client", "clipcli.inputs.listed_paths",
        "clipcli.output.reports.github", "clipcli.prompts.rows", "importlib.resources", "tempfile", "rich",
    }  # fmt: skip
    assert "clipcli.config.location" in result.lines[-1].split()
    assert not unused & set(result.lines[-1].split())


def test_pictures_import_no_reader_of_vectors_or_tables():
    script = "import sys; from clipcli.runs.classify import plan_command"
    listing = run_script(script + "; print(*(name for name in sys.modules if name.startswith('clipcli.')))")
    names = set(listing.stdout.split())
    assert "clipcli.runs.classify.run" in names
    assert not {"clipcli.vectorfiles", "clipcli.inputs.sources.text_tables", "clipcli.models.loader"} & names


def test_every_format_of_vectors_is_looked_at():
    for suffix in _BY_SUFFIX:
        assert has_suffix(f"vectors{suffix.upper()}", _MAY_HOLD_VECTORS)
