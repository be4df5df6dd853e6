"""The rules of docs/architecture.md: who may import whom, how modules and classes are named, what --help may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clipcli"
ROWS = [
    {"errors", "__init__"},
    {"core"},
    {"cache"},
    {"inputs", "tasks", "hub", "bundle"},
    {"images", "prompts", "plan", "engines"},
    {"models", "output"},
    {"session", "vectorfiles", "config"},
    {"options"},
    {"runs"},
    {"api"},
    {"cli"},
    {"__main__"},
]
"""The layers, from the bottom to the top; docs/architecture.md shows the same table."""
SIDE_STEPS = {
    ("check", "classify"),
    ("check", "dedupe"),
    ("check", "score"),
    ("calibrate", "classify"),
    ("fit", "classify"),
}
"""Runs that may use another command's run."""
COMMANDS = {
    "apply", "cache", "calibrate", "check", "classify", "dedupe", "detect", "doctor", "embed", "fit", "index", "merge",
    "models", "prompts", "rank", "score", "select", "undo",
}  # fmt: skip
MAY_REPEAT = {"run", "rows", "validate", "errors", "read", "write", "__init__"} | COMMANDS
"""Module names that may stand in several packages."""
SMALL = {
    "__main__": "`python -m clipcli` needs a module of this name",
    "cli.commands.doctor": "a command has a module of its own, however short",
    "cli.commands.index": "a command has a module of its own, however short",
    "cli.commands.select": "a command has a module of its own, however short",
    "cli.commands.undo": "a command has a module of its own, however short",
}
"""Modules of fewer than 40 lines with one importer, each with the reason why it is not part of that importer."""
GERUND = re.compile(r"\w+ing")
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
        "engines/openclip_registry.py",
        "engines/detector.py",
        "engines/openclip.py",
        "engines/torch_devices.py",
        "engines/nvjpeg.py",
        "engines/onnx_export.py",
        "engines/openclip_towers.py",
        "engines/torch_search.py",
    },
    "open_clip": {
        "engines/openclip_towers.py",
        "engines/openclip.py",
        "engines/onnx_export.py",
        "engines/checkpoint.py",
        "engines/hugging_face.py",
    },
    "transformers": {"engines/hugging_face.py"},
    "onnxruntime": {"engines/onnx.py"},
    "huggingface_hub": {"hub/"},
    "tqdm": {"core/console.py"},
    "sqlite3": {"cache/", "inputs/row_filter.py", "runs/select/rows.py"},
    "fsspec": {"inputs/sources/filesystems.py"},
    "ray": {"session/ray/cluster.py"},
    "tenacity": {"inputs/sources/filesystems.py"},
    "aiohttp": {"inputs/sources/filesystems.py"},
    "textual_image": {"output/terminal_images.py"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The dotted name of a module below the package; that of a package's `__init__` is the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(path: Path) -> int:
    """The row of a file, by its first part below the package."""
    return row_named(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))


def row_named(part: str) -> int:
    """The row that a module or package of this name stands in; every one has its row."""
    return next(number for number, row in enumerate(ROWS) if part in row)


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Modules that a file imports, for types too, with the line; `from clipcli.x import y` names y where it is one."""
    names: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                names.append((longer if longer.removeprefix("clipcli.") in NAMES else node.module, node.lineno))
    return names


NAMES = {name_of(path) for path in MODULES}


@cache
def graph() -> dict[str, set[str]]:
    """Which modules of the package each module imports, for types too."""
    ours = {name: set() for name in NAMES}
    for path in MODULES:
        used = {name.removeprefix("clipcli.") for name, _ in imports(path) if name.startswith("clipcli.")}
        ours[name_of(path)] = (used & NAMES) - {name_of(path)}
    return ours


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_rows(path: Path):
    mine, home = row_of(path), path.relative_to(PACKAGE).parts
    for name, line in imports(path):
        if not name.startswith("clipcli.") or name == "clipcli.__version__":
            continue
        parts = name.split(".")[1:]
        if parts[0] != home[0].removesuffix(".py"):
            assert row_named(parts[0]) < mine, f"{path}:{line} imports {name}, which is not in a lower row"
        elif parts[0] == "runs" and len(home) > 2 and len(parts) > 1 and parts[1] in COMMANDS - {home[1]}:
            assert (home[1], parts[1]) in SIDE_STEPS, f"{path}:{line}: the run of {home[1]} may not use {parts[1]}'s"


def test_modules_have_no_circles():
    """Not even for types."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.thorough
def test_a_public_class_has_its_name_alone():
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_module_names_say_what_they_hold():
    """A name repeats only where each command has such a module, and none is a gerund."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        homes[path.stem].append(name_of(path))
    assert {stem: where for stem, where in homes.items() if len(where) > 1 and stem not in MAY_REPEAT} == {}
    assert [name for name in NAMES if GERUND.fullmatch(name.rpartition(".")[2])] == []


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem == "__init__"], ids=name_of)
def test_the_list_of_modules_in_a_package_is_complete(path: Path):
    """A docstring of a package that lists its modules lists all of them, and no others."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    listed = set(re.findall(r"^ *(\w+\.py) {2,}", text, re.MULTILINE))
    there = {module.name for module in path.parent.glob("*.py")} - {"__init__.py"}
    assert not listed or listed == there


def test_small_modules_have_a_reason():
    users: dict[str, set[str]] = defaultdict(set)
    for name, used in graph().items():
        for other in used:
            users[other].add(name)
    small = {
        name_of(path)
        for path in MODULES
        if path.stem != "__init__" and path.read_text("utf-8").count("\n") < 40 and len(users[name_of(path)]) <= 1
    }
    assert small == set(SMALL)


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_heavy_libraries_have_one_home(library: str):
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        users = [line for module, line in imports(path) if module.split(".")[0] == library]
        at_home = any(name == home or (home.endswith("/") and name.startswith(home)) for home in MAY_IMPORT[library])
        assert at_home or not users, f"{name}:{users} imports {library}"


@pytest.mark.thorough
def test_one_module_has_transformers_read_files():
    """It runs code that a repository brings when it is told to, so no other module may hand it a file."""
    names = {"from_pretrained", "HFTokenizer", "AutoTokenizer", "AutoConfig", "AutoModel", "get_tokenizer"}
    for path in MODULES:
        used = {name for name in names_in(path) if name in names or name == "trust_remote_code"}
        home = path.relative_to(PACKAGE).as_posix() == "engines/hugging_face.py"
        assert home or not used, f"{path}: {used}"
    assert "HFTokenizer" in names_in(PACKAGE / "engines" / "hugging_face.py")


@pytest.mark.thorough
def test_nothing_is_unpickled_or_evaluated():
    """Data never runs code. Only a process and its own child may send each other pickles, over their pipes."""
    between_processes = {("runs/dedupe/workers.py", "pickle")}
    libraries = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
    calls = {"eval", "exec", "compile", "__import__"}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
                allowed = {name for module, name in between_processes if path == PACKAGE / module}
                assert not libraries & names - allowed, where
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
            assert path.relative_to(PACKAGE).parts[0] in {"cli", "options"}, path


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_size_budget():
    """No file over 400 lines, no function over 40."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path}: {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 40, f"{path.name}:{node.lineno} {node.name} has {length} lines"
