"""docs/schemas: what the commands print is what the schemas say, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from run import ROOT, run

SCHEMAS = {path.name.partition(".")[0]: path for path in sorted((ROOT / "docs" / "schemas").glob("*.schema.json"))}


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMAS[name].read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def pictures_with_a_bad_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    broken = tmp_path_factory.mktemp("bad") / "broken.jpg"
    broken.write_bytes(b"no picture")
    return [folder, broken]


def rows_of(random_model: str, *arguments: str | Path) -> list[Any]:
    result = run(*arguments, "-m", random_model, "--engine", "openclip", "--format", "jsonl")
    assert result.code in {0, 1, 3}, result.stderr
    return result.rows


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name: str):
    Draft202012Validator.check_schema(validator(name).schema)


@pytest.mark.parametrize(
    "options",
    [(), ("-k", "0"), ("--similarity",), ("--multi-label", "--threshold", "0.6"), ("--threshold", "0.999"),
     ("--none", "other"), ("--expect-from", "parent", "--min-accuracy", "0")],
    ids=" ".join,
)  # fmt: skip
def test_classify(random_model: str, pictures_with_a_bad_one: list[Path], options: tuple[str, ...]):
    rows = rows_of(random_model, "classify", *pictures_with_a_bad_one, "-l", "disc,square", *options)
    check(rows, "classify")


def test_embed_images(random_model: str, pictures_with_a_bad_one: list[Path]):
    rows = rows_of(random_model, "embed", *pictures_with_a_bad_one)
    check(rows, "embed")
    check(rows_of(random_model, "embed", *pictures_with_a_bad_one, "--shard", "1/2"), "embed", failures=None)


def test_embed_texts(random_model: str):
    check(rows_of(random_model, "embed", "-t", "a cat", "-t", "a dog"), "embed", failures=False)


def test_rank(random_model: str, pictures_with_a_bad_one: list[Path]):
    check(rows_of(random_model, "rank", *pictures_with_a_bad_one, "-e", "a red disc"), "rank")


def test_figures_of_rank(random_model: str, folder: Path, tmp_path: Path):
    (tmp_path / "want.csv").write_text(f"query,image\na disc,{folder / 'disc' / 'red.png'}\n", encoding="utf-8")
    arguments = ("--relevance", tmp_path / "want.csv", "--min-recall", "8=0.5", folder)
    rows = rows_of(random_model, "rank", *arguments)
    assert [row["measure"] for row in rows if "needed" in row] == ["recall@8"]
    check(rows, "rank", failures=False)


@pytest.mark.thorough
def test_score(random_model: str, pictures_with_a_bad_one: list[Path], tmp_path: Path):
    files = [next(pictures_with_a_bad_one[0].rglob("red.png")), pictures_with_a_bad_one[1]]
    (tmp_path / "t.csv").write_text("image,text\n" + "".join(f"{file},a disc\n" for file in files), encoding="utf-8")
    check(rows_of(random_model, "score", tmp_path / "t.csv"), "score")
    check(rows_of(random_model, "score", tmp_path / "t.csv", "--min-score", "0", "--fail-under", "0"), "score")
    result = run("score", tmp_path / "t.csv", "-m", random_model, "-m", "tiny", "--format", "jsonl")
    assert len(result.rows[0]["scores"]) == 2
    check(result.rows, "score")


def test_dedupe(random_model: str, folder: Path, tmp_path: Path):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes((folder / "disc" / "red.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    check(rows_of(random_model, "dedupe", tmp_path), "dedupe")
    run("embed", tmp_path, "-o", tmp_path / "v.npy", "-m", random_model)
    check(run("dedupe", tmp_path / "v.npy", "--format", "jsonl").rows, "dedupe", failures=False)


def test_calibrate_and_its_file(random_model: str, folder: Path, tmp_path: Path):
    target = tmp_path / "thresholds.json"
    for options in ((), ("--multi-label", "--target-precision", "0.9"), ("-l", "disc,square,house")):
        rows = rows_of(random_model, "calibrate", folder, "-o", target, *options)
        check(rows, "calibrate", failures=False)
        check([json.loads(target.read_text(encoding="utf-8"))], "thresholds", failures=False)


def test_fit(random_model: str, folder: Path, tmp_path: Path):
    check(rows_of(random_model, "fit", folder, "-o", tmp_path / "x.head", "--force"), "fit", failures=False)
    one = [folder / "disc" / "red.png", folder / "square" / "red.png"]
    check(rows_of(random_model, "fit", *one, "-o", tmp_path / "x.head"), "fit", failures=False)


def test_detect(random_model: str, pictures_with_a_bad_one: list[Path]):
    rows = rows_of(random_model, "detect", *pictures_with_a_bad_one, "-l", "disc,square", "--threshold", "0.0")
    check(rows, "detect")


def test_classify_boxes(random_model: str, folder: Path, tmp_path: Path):
    lines = [
        {"image": str(folder / "disc" / "red.png"), "box": [1, 2, 30, 40]},
        {"image": "gone.png", "box": [0, 0, 5, 5]},
    ]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    check(rows_of(random_model, "classify", "--boxes", tmp_path / "b.jsonl", "-l", "disc,square"), "classify")


def test_check(random_model: str, folder: Path, tmp_path: Path):
    (tmp_path / "red.png").write_bytes((folder / "disc" / "red.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    what = 'include = "*"\nexpect = "disc"\nlabels = ["disc", "square"]\nduplicates = "exact"\n'
    (tmp_path / "clipcli.toml").write_text(f'model = "{random_model}"\n[checks.a]\n{what}', encoding="utf-8")
    result = run("check", "--config", tmp_path / "clipcli.toml", "--engine", "openclip", "--format", "jsonl")
    assert [row["check"] for row in result.rows] == ["a", "a: duplicates"]
    assert result.rows[0]["failures"][0]["error"].endswith("(decode)")
    check(result.rows, "check", failures=False)


def test_apply_and_undo(folder: Path, tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((folder / "disc" / "red.png").read_bytes())
    plan = tmp_path / "plan.jsonl"
    assert run("dedupe", tmp_path, "--level", "exact", "-o", plan).code == 0
    action = ("apply", plan, "--action", f"move:{tmp_path / 'away'}", "--format", "jsonl")
    for arguments in (action, (*action, "--yes"), ("undo", f"{plan}.journal", "--format", "jsonl")):
        result = run(*arguments)
        assert len(result.rows) == 2, result.stderr
        check(result.rows, "apply", failures=False)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("doctor",), "doctor"), (("models", "list", "SigLIP"), "models"), (("prompts", "list"), "prompts"),
     (("models", "info", "MODEL"), "models"), (("models", "verify", "MODEL"), "models"),
     (("models", "bench", "MODEL", "--seconds", "0.1"), "models"), (("cache", "info"), "cache")],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)  # fmt: skip
def test_what_else_has_rows(random_model: str, arguments: tuple[str, ...], name: str):
    run("embed", "-t", "something to keep", "-m", random_model, "--engine", "openclip")
    result = run(*[random_model if word == "MODEL" else word for word in arguments], "--format", "jsonl")
    assert result.code in {0, 5}, result.stderr
    check(result.rows, name, failures=False)


def check(rows: list[Any], name: str, *, failures: bool | None = True) -> None:
    """Every row fits, good ones and failed ones are among them, and a failed one fits error.schema.json too."""
    schema = validator(name)
    for row in rows:
        assert schema.is_valid(row), f"{row}: {[error.message for error in schema.iter_errors(row)]}"
        assert not schema.is_valid({**row, "surprise": 1})
    bad = [row for row in rows if "error" in row]
    assert len(bad) < len(rows)
    assert failures is None or bool(bad) is failures  # which shard a name is in depends on the folder's own name
    assert all(validator("error").is_valid(row) for row in bad)
