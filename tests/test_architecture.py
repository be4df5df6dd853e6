"""The house's rules about who may import whom, and what --help may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clipcli"
ROWS = [
    {"errors", "__init__"},
    {"inputs", "sources", "vectors", "encoder", "report", "talk", "spelling", "textfiles", "arrow", "sharding",
     "files", "decode",
     "steady", "devices", "redaction"},
    {"images", "preprocess", "prompts", "cache", "bundle", "output", "tasks", "vectorfiles", "hub", "catalogue",
     "registry", "other_names", "expectations", "query", "texts", "plan", "reports", "config"},
    {"engines", "records", "modelspec", "exporting", "loading"},
    {"models"},
    {"pipeline", "session", "session_options", "cluster"},  # a cluster is sessions behind the face of one
    {"groups", "options", "choices", "environment", "defaults"},
    {"checking", "classification", "embedding", "ranking", "deduplication", "calibration", "checks", "acting", "doctor",
     "modeltools", "benching", "thresholdfile"},  # one run of a command: options in, rows out
    {"commands"},
    {"cli", "menu", "sections", "__main__"},
]  # fmt: skip
COMMAND_LINE = {"groups", "options", "commands", "cli", "menu", "sections"}
HEAVY = {
    "torch",
    "open_clip",
    "torchvision",
    "numpy",
    "PIL",
    "onnxruntime",
    "huggingface_hub",
    "rich.table",
    "pyarrow",
    "transformers",
    "fsspec",
    "ray",
    "tarfile",
}
MAY_IMPORT = {
    "torch": {
        "engines/devices.py",
        "engines/nvjpeg.py",
        "engines/openclip.py",
        "engines/export.py",
        "engines/faults.py",
        "engines/few_queries.py",
        "engines/image_tower.py",
        "engines/text_tower.py",
        "engines/compact.py",
        "engines/parity.py",
        "engines/searching.py",
    },
    "open_clip": {
        "engines/openclip.py",
        "engines/export.py",
        "engines/image_tower.py",
        "engines/text_tower.py",
        "engines/sources.py",
        "engines/tokenizer_export.py",
        "engines/hugging_face.py",
    },
    "transformers": {"engines/hugging_face.py"},
    "onnxruntime": {"engines/tower.py"},
    "huggingface_hub": {"hub/"},
    "tqdm": {"talk.py"},
    "sqlite3": {"cache/"},
    "fsspec": {"sources/places.py", "sources/fetching.py"},
    "ray": {"cluster/running.py"},
    "tenacity": {"sources/fetching.py"},
    "aiohttp": {"sources/places.py"},
    "textual_image": {"output/preview.py"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def row_of(path: Path) -> int:
    """The row of a file, by its first part below the package."""
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return row_named(part)


def row_named(part: str) -> int:
    """The row that a module or package of this name stands in; every one has its row."""
    return next(number for number, row in enumerate(ROWS) if part in row)


def imports(path: Path, *, run_time_only: bool = True) -> list[tuple[str, int]]:
    """Modules that a file imports, with the line; those under `if TYPE_CHECKING:` are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    if run_time_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                skipped |= {id(child) for child in ast.walk(node)}
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if node.module == "clipcli" else node.module, node.lineno) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_rows(path: Path):
    mine, home = row_of(path), path.relative_to(PACKAGE).parts[0]
    for name, line in imports(path):
        if not name.startswith("clipcli.") or name == "clipcli.__version__":
            continue
        part = name.split(".")[1]
        other = row_named(part)
        allowed = other < mine or part == home.removesuffix(".py") or (other == mine and mine >= 1)
        assert allowed, f"{path.name}:{line} imports {name} (row {other}) from row {mine}"


def test_rows_have_no_cycles():
    """Within a row modules may use each other one way only."""
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        used = {name.split(".")[1] for name, _ in imports(path) if name.startswith("clipcli.")}
        graph.setdefault(home, set()).update(used - {home, "__version__"})
    done: set[str] = set()

    def visit(node: str, trail: tuple[str, ...]) -> None:
        assert node not in trail, " → ".join((*trail[trail.index(node) :], node))
        if node not in done:
            for child in graph.get(node, set()):
                visit(child, (*trail, node))
            done.add(node)

    for start in graph:
        visit(start, ())


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_heavy_libraries_have_one_home(library: str):
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        users = [line for module, line in imports(path) if module.split(".")[0] == library]
        at_home = any(name == home or (home.endswith("/") and name.startswith(home)) for home in MAY_IMPORT[library])
        assert at_home or not users, f"{name}:{users} imports {library}"


def test_one_module_has_transformers_read_files():
    """It runs code that a repository brings when it is told to, so no other module may hand it a file."""
    names = {"from_pretrained", "HFTokenizer", "AutoTokenizer", "AutoConfig", "AutoModel", "get_tokenizer"}
    for path in MODULES:
        used = {name for name in names_in(path) if name in names or name == "trust_remote_code"}
        home = path.relative_to(PACKAGE).as_posix() == "engines/hugging_face.py"
        assert home or not used, f"{path}: {used}"
    assert "HFTokenizer" in names_in(PACKAGE / "engines" / "hugging_face.py")


def test_nothing_is_unpickled_or_evaluated():
    """Data never runs code."""
    libraries = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
    calls = {"eval", "exec", "compile", "__import__"}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not libraries & {alias.name.partition(".")[0] for alias in node.names}, where
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {alias.name for alias in node.names}
                assert node.module.partition(".")[0] not in libraries or names == {"UnpicklingError"}, where
            elif isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in calls, where
                assert name not in {"torch.load", "np.load", "load_checkpoint"} or is_safe(node), where
                assert name not in {"torch.jit.load", "torch.package.PackageImporter"}, where


def is_safe(call: ast.Call) -> bool:
    """Whether a reader that can unpickle is told outright not to."""
    said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return said.get("weights_only") == "True" or said.get("allow_pickle") == "False"


def names_in(path: Path) -> set[str]:
    """Every name, attribute and keyword argument of a module; texts are no names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def test_typer_stands_only_in_the_command_line():
    for path in MODULES:
        if any(module.split(".")[0] == "typer" for module, _ in imports(path)):
            assert path.relative_to(PACKAGE).parts[0].removesuffix(".py") in COMMAND_LINE, path


def test_what_commands_run_knows_no_command():
    """Not even their types: options stand below."""
    for path in MODULES:
        if row_of(path) < row_named("commands"):
            assert not [
                name for name, _ in imports(path, run_time_only=False) if name.startswith("clipcli.cli.commands")
            ], path


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("classify", "--help"), ("classify", "--no-such-option"), ("no-such-command",)],
)
def test_help_and_bad_arguments_load_nothing_heavy(arguments: tuple[str, ...]):
    script = f"""
import sys
from clipcli.cli import app
try:
    app({list(arguments)!r}, prog_name="clipcli")
except SystemExit as stop:
    code = stop.code
heavy = sorted({HEAVY!r} & set(sys.modules))
print("heavy:", heavy, "code:", code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    expected = 0 if arguments[-1] in {"--help", "--version"} else 2
    assert done.stdout.splitlines()[-1] == f"heavy: [] code: {expected}", done.stdout + done.stderr


def test_size_budget():
    """No file over 400 lines, no function over 40."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path}: {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 40, f"{path.name}:{node.lineno} {node.name} has {length} lines"
