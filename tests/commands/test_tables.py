"""Tables of images and files of vectors as inputs of the commands: columns go through, order stays, nothing is lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pictures
import pytest
from run import assert_one_error, run

from clipcli.core.encoder import Scoring
from clipcli.tasks.classify import Classifier, LabelBin


@pytest.fixture
def clip(random_model: str):
    """Run a command with the small random model."""

    def call(command: str, *arguments: str | Path):
        return run(command, *arguments, "-m", random_model, "--engine", "openclip", "--format", "jsonl")

    return call


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A JSON Lines table beside its pictures; the third row's picture is missing."""
    lines = []
    for number, colour in enumerate(pictures.COLOURS):
        pictures.disc(colour).save(tmp_path / f"{colour}.png")
        lines.append({"sku": f"0{number}", "photo": f"{colour}.png", "label": colour, "price": number + 0.5})
    lines[2]["photo"] = "lost.png"
    (tmp_path / "shop.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path / "shop.jsonl"


def test_classify_keeps_columns_of_a_table(clip, shop: Path):
    result = clip("classify", shop, "-l", "disc,square", "--keep", "sku,label,price")
    assert result.code == 3
    assert [row["sku"] for row in result.rows] == ["00", "01", "02", "03"]
    assert [row["price"] for row in result.rows] == [0.5, 1.5, 2.5, 3.5]
    assert [row["table_label"] for row in result.rows] == list(pictures.COLOURS)
    assert result.rows[2]["error"]["stage"] == "read"
    plain = clip("classify", shop, "-l", "disc,square").rows
    assert [row | {} for row in plain] == [
        {key: value for key, value in row.items() if key not in {"sku", "price", "table_label"}} for row in result.rows
    ]


def test_csv_of_several_lines_a_row_has_the_columns_on_each(random_model: str, shop: Path):
    result = run(
        "classify", shop, "-l", "disc,square", "-k", "2", "--keep", "all", "--format", "csv", "-m", random_model
    )
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["sku"] for row in table] == ["00", "00", "01", "01", "02", "03", "03"]
    assert table[4]["error"].startswith("read: ")
    assert table[0]["price"] == "0.5"


def test_rank_keeps_columns_with_its_hits(clip, shop: Path):
    result = clip("rank", "a red disc", shop, "--keep", "sku,price", "-k", "2")
    hits = [row for row in result.rows if "error" not in row]
    assert len(hits) == 2
    for hit in hits:
        colour = Path(hit["image"]).stem
        number = list(pictures.COLOURS).index(colour)
        assert (hit["sku"], hit["price"]) == (f"0{number}", number + 0.5)
    (lost,) = [row for row in result.rows if "error" in row]
    assert lost["sku"] == "02"


@pytest.mark.parametrize("command", [("classify", "-l", "disc,square"), ("rank", "a red disc", "--all")])
def test_where_takes_rows_before_their_pictures_are_read(clip, shop: Path, command: tuple[str, ...]):
    name, *options = command
    words = options[:1] if name == "rank" else []
    rest = options[1:] if name == "rank" else options
    result = clip(name, *words, shop, *rest, "--where", "price > 3 or sku = '00'", "--keep", "sku")
    assert result.code == 0, result.stderr  # the picture that is missing is of another row
    assert sorted(row["sku"] for row in result.rows) == ["00", "03"]
    assert all("price" not in row for row in result.rows)
    assert_one_error(clip(name, *words, shop, *rest, "--where", "prise > 3"), "no column prise", "price", code=2)
    assert_one_error(clip(name, *words, shop, *rest, "--where", "price > 99"), "no row of the tables passes", code=4)
    assert_one_error(clip(name, *words, shop.parent, *rest, "--where", "price > 3"), "--where is for tables", code=2)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_where_on_tables_of_texts_and_of_images(clip, shop: Path, suffix: str):
    lines = [json.loads(line) for line in shop.read_text(encoding="utf-8").splitlines()]
    table = shop.with_suffix(f".{suffix}")
    if suffix == "csv":
        with table.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        data = [(shop.parent / f"{line['label']}.png").read_bytes() for line in lines]
        rows = [line | {"photo": {"bytes": each, "path": "x.png"}} for line, each in zip(lines, data, strict=True)]
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), table, row_group_size=2)
    result = clip(
        "score", table, "--text", "label", "--where", "price between 1 and 2 or label = 'red'", "--keep", "price"
    )
    assert result.code == 0, result.stderr
    assert [row["text"] for row in result.rows] == [lines[0]["label"], lines[1]["label"]]
    assert [float(row["price"]) for row in result.rows] == [0.5, 1.5]
    assert_one_error(clip("score", shop.parent, "--where", "price > 3"), "--where is for tables", code=2)


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", ["npy", "jsonl", "csv", "parquet", "npz", "safetensors"])
def test_classify_takes_vectors_in_place_of_images(clip, random_model: str, folder: Path, tmp_path: Path, suffix: str):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"v.{suffix}"
    assert run("embed", folder, "-o", file, "-m", random_model, "--engine", "openclip").code == 0
    for options in ((), ("-k", "2"), ("--none", "other"), ("--multi-label",), ("--expect-from", "parent"), ("-k", "0")):
        direct = clip("classify", folder, "-l", "disc,square,house", *options)
        stored = clip("classify", file, "-l", "disc,square,house", *options)
        assert stored.code == direct.code
        assert [row["image"] for row in stored.rows] == [row["image"] for row in direct.rows]
        for ours, theirs in zip(stored.rows, direct.rows, strict=True):
            assert ours["label"] == theirs["label"]
            assert ours["score"] == pytest.approx(theirs["score"], abs=5e-6)
            assert [entry["label"] for entry in ours["labels"]] == [entry["label"] for entry in theirs["labels"]]


@pytest.mark.thorough
def test_vectors_name_their_model_and_refuse_another(random_model: str, folder: Path, tmp_path: Path):
    file = tmp_path / "v.npy"
    run("embed", folder, "-o", file, "-m", random_model, "--engine", "openclip")
    result = run("classify", file, "-l", "disc,square", "--format", "jsonl", "--engine", "openclip")
    assert (result.code, len(result.rows)) == (0, 8)
    assert "using it" in result.stderr
    other = run("classify", file, "-l", "disc,square", "-m", "tiny")
    assert other.code == 4
    assert "its vectors are of" in other.stderr
    assert_one_error(run("classify", file, folder, "-l", "a,b"), "holds vectors, other inputs are images", code=2)
    run("embed", "-t", "a", "-o", tmp_path / "t.npy", "-m", random_model, "--engine", "openclip")
    assert_one_error(run("classify", tmp_path / "t.npy", "-l", "a,b"), "vectors of texts", code=2)
    some = run(
        "classify", file, "-l", "disc,square", "--include", "red.png", "--format", "jsonl", "--engine", "openclip"
    )
    assert [Path(row["image"]).name for row in some.rows] == ["red.png", "red.png"]


@pytest.mark.thorough
def test_calibrate_takes_vectors(clip, random_model: str, folder: Path, tmp_path: Path):
    file, labels = tmp_path / "v.npy", tmp_path / "labels.csv"
    run("embed", folder, "-o", file, "-m", random_model, "--engine", "openclip")
    paths = sorted(folder.rglob("*.png"))
    labels.write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in paths), encoding="utf-8")
    options = ("--expect-from", labels, "-l", "disc,square")
    direct = clip("calibrate", folder, *options, "-o", tmp_path / "a.json")
    stored = clip("calibrate", file, *options, "-o", tmp_path / "b.json")
    assert direct.code == stored.code == 0, stored.stderr
    ours, theirs = (json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("b.json", "a.json"))
    assert ours["temperature"] == pytest.approx(theirs["temperature"], rel=1e-3)


@pytest.mark.parametrize("meaning", ["softmax", "sigmoid", "background", "cosine"])
@pytest.mark.parametrize("top", [0, 1, 3])
def test_a_block_is_answered_like_its_rows(meaning, top: int):
    random = np.random.default_rng(5)
    vectors = random.normal(size=(12, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple("abcdef")
    for none, bins, many in (
        (None, (), False),
        ("z", (), False),
        (None, (LabelBin("x", (0, 2)),), False),
        (None, (), True),
    ):
        scoring = Scoring(5.0, 0.0, "sigmoid" if meaning == "sigmoid" else "softmax")
        classifier = Classifier(names, vectors[:6], scoring, meaning, vectors[6], none, 0.4, many, bins)
        for ours, vector in zip(classifier.classify_block(vectors, top), vectors, strict=True):
            one = classifier.classify(vector)
            assert (ours.label, [e.label for e in ours.ranked]) == (
                one.label, [e.label for e in one.ranked][: len(ours.ranked)]
            )  # fmt: skip
            assert ours.score == pytest.approx(one.score, abs=1e-6)
            assert many or len(ours.ranked) == (top or len(one.ranked))


@pytest.mark.parametrize("threshold", [(), ("--threshold", "0.3"), ("--none", "other", "--threshold", "0.3")])
def test_blocks_of_rows_are_the_rows(clip, random_model: str, tmp_path: Path, threshold: tuple[str, ...]):
    """`-k 1` answers stored vectors in blocks, `-k 2` one by one; names need every kind of quoting."""
    folder = tmp_path / "p"
    folder.mkdir()
    names = ["a.png", 'quo"te.png', "back\\slash.png", "new\nline.png", "tab\t, comma.png", "é\u202e.png", "##[a].png"]
    for number, name in enumerate(names):
        pictures.disc(list(pictures.COLOURS)[number % 4]).save(folder / name)
    run("embed", folder, "-o", tmp_path / "v.npy", "-m", random_model, "--engine", "openclip")
    options = (tmp_path / "v.npy", "-l", 'disc,"a ""b"", c",square', *threshold)
    single, block = clip("classify", *options, "-k", "2").rows, clip("classify", *options).rows
    assert [row["image"] for row in block] == [row["image"] for row in single]
    for ours, theirs in zip(block, single, strict=True):
        assert list(ours) == ["image", "label", "score", "labels"]
        assert (ours["label"], ours["labels"][0]["label"]) == (theirs["label"], theirs["labels"][0]["label"])
        assert ours["score"] == ours["labels"][0]["score"] == pytest.approx(theirs["score"], abs=2e-6)
        assert ours["labels"][0]["similarity"] == pytest.approx(theirs["labels"][0]["similarity"], abs=2e-6)
    for form in ("csv", "tsv", "json"):
        text = run("classify", *options, "--format", form, "-m", random_model).stdout
        direct = run("classify", folder, *options[1:], "--format", form, "-m", random_model).stdout
        if form == "json":
            assert [row["label"] for row in json.loads(text)] == [row["label"] for row in json.loads(direct)]
        else:
            delimiter = "," if form == "csv" else "\t"
            ours = list(csv.reader(io.StringIO(text), delimiter=delimiter))
            theirs = list(csv.reader(io.StringIO(direct), delimiter=delimiter))
            assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    run("classify", *options, "-o", tmp_path / "rows.parquet", "-m", random_model)
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [{key: row[key] for key in block[0]} for row in table] == block


def test_dedupe_keeps_columns_and_stays_a_plan(clip, random_model: str, shop: Path):
    with shop.open("a", encoding="utf-8") as stream:
        stream.write('\n{"sku": "10", "photo": "again.png", "keep": "mine", "price": 7}\n')
    (shop.parent / "again.png").write_bytes((shop.parent / "red.png").read_bytes())
    result = clip("dedupe", shop, "--level", "exact", "--keep-columns", "sku,price")
    assert result.code == 3, result.stderr
    assert {row["sku"]: row["price"] for row in result.rows if "error" not in row} == {"00": 0.5, "10": 7}
    assert [row["sku"] for row in result.rows if "error" in row] == ["02"]
    plain = clip("dedupe", shop, "--level", "exact").rows
    assert [{**row, "sku": None, "price": None} for row in plain] == [
        {**row, "sku": None, "price": None} for row in result.rows
    ]
    plan = shop.parent / "plan.jsonl"
    run("dedupe", shop, "--level", "exact", "--keep-columns", "all", "-o", plan, "-m", random_model)
    assert run("apply", plan).code == 0
    for form, lines in (("groups", 2), ("csv", 4), ("tsv", 3)):
        done = run("dedupe", shop, "--level", "exact", "--keep-columns", "sku", "-f", form, "-m", random_model)
        assert len(done.stdout.strip().splitlines()) == lines
        assert (form == "groups") != any(line.rstrip(",").endswith(("10", "00")) for line in done.lines)


def test_a_struct_with_a_path_and_no_bytes_is_read_from_the_path(clip, tmp_path: Path):
    """As `datasets` of Hugging Face writes images that it did not embed."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    for colour in ("red", "green"):
        pictures.disc(colour).save(tmp_path / f"{colour}.png")
    green = (tmp_path / "green.png").read_bytes()
    cells = [
        {"bytes": None, "path": "red.png"}, {"bytes": green, "path": "not-there.png"},
        {"bytes": None, "path": "lost.png"}, {"bytes": None, "path": None}, None, {"bytes": b"", "path": "red.png"},
    ]  # fmt: skip
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pyarrow.parquet.write_table(pa.table({"image": pa.array(cells, kind)}), tmp_path / "t.parquet")
    result = clip("classify", tmp_path / "t.parquet", "-l", "disc,square")
    assert ["error" in row for row in result.rows] == [False, False, True, True, True, True]
    reasons = [row["error"]["reason"] for row in result.rows[2:]]
    assert "lost.png: no such file" in reasons[0]
    assert reasons[1:] == ["no image in this row", "no image in this row", "empty file"]
    direct = clip("classify", tmp_path / "red.png", "-l", "disc,square").rows
    assert result.rows[0]["labels"] == direct[0]["labels"]


def test_classify_answers_a_table_before_its_end(random_model: str, shop: Path):
    """A table is no list: where a row is wrong at the end, the rows before it are out."""
    from clipcli.core.console import Console
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.options.shared import InputOptions, LabelOptions
    from clipcli.runs.classify import plan

    labels, score, check = LabelOptions(labels=["disc", "square"]), ScoreOptions(), CheckOptions()
    table = plan(InputOptions(images=[str(shop)]), labels, score, check, Console(quiet=True))
    assert table.total is None
    folder = plan(InputOptions(images=[str(shop.parent)]), labels, score, check, Console(quiet=True))
    assert folder.total == 4
    assert next(iter(table.refs)).name.endswith("red.png")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("a.csv", "image,label\na.png,disc\n", ["classify", "FILE", "-l", "a,b"]),
        ("a.jsonl", '{"image": "a.png"}\n', ["classify", "FILE", "-l", "a,b"]),
        ("a.txt", "a.png\n", ["classify", "--files-from", "FILE", "-l", "a,b"]),
        ("a.txt", "a dog\n", ["embed", "--texts-from", "FILE", "-m", "tiny", "-q"]),
        ("a.csv", "text\na dog\n", ["embed", "--texts-from", "FILE", "-m", "tiny", "-q"]),
        ("a.tsv", "a.png\tdog\t0.4\n", ["select", "FILE", "--min-score", "0.1"]),
        ("a.jsonl", '{"image": "a.png", "score": 0.4}\n', ["select", "FILE", "--min-score", "0.1"]),
        ("a.txt", "cat\ndog\n", ["classify", "--files-from", "FILE", "--labels-file", "FILE"]),
        ("a.jsonl", "{}\n", ["apply", "FILE"]),
    ],
)  # fmt: skip
def test_a_text_in_utf_16_is_named_as_such(tmp_path: Path, encoding: str, name: str, text: str, arguments: list[str]):
    file = tmp_path / name
    file.write_bytes(f"\ufeff{text}".encode(encoding))
    result = run(*(str(file) if word == "FILE" else word for word in arguments))
    assert_one_error(result, str(file), "UTF-16", "iconv", code=4)
    assert not result.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_other_tools_read_rows_with_carried_columns(random_model: str, shop: Path, reader: str, suffix: str):
    package = pytest.importorskip(reader)
    file = shop.parent / f"rows.{suffix}"
    done = run("classify", shop, "-l", "disc,square", "--keep", "sku,price", "-o", file, "-m", random_model)
    assert done.code == 3, done.stderr
    if reader == "duckdb":
        scan = f"read_{'json_auto' if suffix == 'jsonl' else suffix}('{file}')"
        found = package.sql(f"select sku, price, label, score from {scan}").fetchall()  # noqa: S608 - our own file
    elif reader == "polars":
        read = {"parquet": package.read_parquet, "csv": package.read_csv, "jsonl": package.read_ndjson}[suffix]
        found = read(file).select("sku", "price", "label", "score").rows()
    else:
        read = {"parquet": package.read_parquet, "csv": package.read_csv, "jsonl": package.read_json}[suffix]
        table = read(file, **({"lines": True, "dtype": {"sku": str}} if suffix == "jsonl" else {}))
        found = table[["sku", "price", "label", "score"]].itertuples(index=False)
    rows = [tuple(row) for row in found]
    assert [float(row[1]) for row in rows] == [0.5, 1.5, 2.5, 3.5]
    assert {row[2] for row in (*rows[:2], rows[3])} <= {"disc", "square"}
    assert all(isinstance(row[3], float) for row in (*rows[:2], rows[3]))  # the third has no picture
    if suffix != "csv":
        assert [row[0] for row in rows] == ["00", "01", "02", "03"]
