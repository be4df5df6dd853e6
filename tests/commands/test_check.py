"""`check` as a team runs it: a config file, a repository, one exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pictures
import pytest
import scratch
from run import ROOT, run
from safetensors.numpy import save_file
from scratch import WRONG, Scratch


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    made = scratch.make(tmp_path / "repo")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Eight pictures, four colours of two shapes, and a model that knows them; gives what writes and runs a config."""
    pictures.make_folder(tmp_path)
    scratch.colour_model.save(tmp_path / "colours")
    monkeypatch.chdir(tmp_path)

    def check(config: str, *arguments: str):
        Path("clipcli.toml").write_text(f'model = "colours"\n{config}', encoding="utf-8")
        return run("check", *arguments)

    return check


def weights(path: Path) -> None:
    """Write a predictor for `colours`: what green and blue lack, less what red lacks."""
    path.parent.mkdir(exist_ok=True)
    save_file({"weight": np.array([[-1, 1, 1]], np.float32)}, path, {"model": "colours"})


COLOURS = 'labels = ["red", "green", "blue", "yellow"]\nprompts = "plain"\n'


class TestScratchRepository:
    def test_three_of_fifty_are_named_and_pass_when_mended(self, shop: Scratch):
        result = run("check")
        assert result.code == 1
        for name in WRONG:
            folder = name.split("/")[1]
            assert f"clipcli: {name}: expected {folder} (0.0000), found red (1.0000)" in result.stderr
        assert result.stderr.count("expected ") == 3
        assert result.lines == ["shop\t50\t3\tno"]
        assert "0 of 1 check holds; 3 of 50 images not as expected" in result.stderr
        shop.mend()
        mended = run("check")
        assert (mended.code, mended.lines) == (0, ["shop\t50\t0\tyes"])
        assert "1 of 1 check holds; 0 of 50 images" in mended.stderr

    def test_quiet_says_only_what_fails(self, shop: Scratch):
        said = run("check", "--quiet").stderr
        assert all(name in said for name in WRONG)
        assert said.endswith("0 of 1 check holds; 3 of 50 images not as expected\n")
        shop.mend()
        mended = run("check", "--quiet")
        assert (mended.lines, mended.stderr) == (["shop\t50\t0\tyes"], "")

    def test_verbose_says_which_file_it_is(self, shop: Scratch):
        assert "clipcli: checks of clipcli.toml\n" in run("check", "--verbose").stderr

    def test_the_file_names_a_format_too(self, shop: Scratch, monkeypatch):
        (shop.root / "clipcli.toml").write_text(f'format = "jsonl"\n{scratch.CONFIG}', encoding="utf-8")
        assert run("check").rows[0]["check"] == "shop"
        assert run("check", "--paths").lines == sorted(WRONG)
        assert run("check", "-f", "tsv").lines == ["shop\t50\t3\tno"]
        monkeypatch.setenv("CLIPCLI_FORMAT", "csv")
        assert run("check").lines[0].startswith("check,images")

    def test_json_rows_hold_what_fails(self, shop: Scratch):
        [row] = run("check", "--format", "jsonl").rows
        assert list(row) == ["check", "ok", "images", "failing", "outcome", "model", "failures"]
        assert (row["ok"], row["images"], row["failing"], row["model"]) == (False, 50, 3, "colours")
        assert [failure["image"] for failure in row["failures"]] == sorted(WRONG)
        assert list(row["failures"][0]) == ["image", "expected", "found", "score", "expected_score", "error"]
        jsonschema = pytest.importorskip("jsonschema", reason="the validator is a developer's package")
        schema = json.loads((ROOT / "docs" / "schemas" / "check.schema.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(row)

    def test_paths_are_those_that_fail(self, shop: Scratch):
        assert run("check", "--paths", "-0").stdout == "".join(f"{name}\0" for name in sorted(WRONG))

    def test_reports_and_annotations(self, shop: Scratch, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        result = run(
            "check", "--report", tmp_path / "r.xml", "--report", tmp_path / "r.md", "--report", tmp_path / "r.sarif"
        )
        errors = [line for line in result.stderr.splitlines() if line.startswith("::error ")]
        assert [line.split("file=")[1].split(",")[0] for line in errors] == sorted(WRONG)
        assert (tmp_path / "r.xml").read_text(encoding="utf-8").count("<testcase") == 50
        assert all(name in (tmp_path / "r.md").read_text(encoding="utf-8") for name in WRONG)
        sarif = json.loads((tmp_path / "r.sarif").read_text(encoding="utf-8"))
        assert len(sarif["runs"][0]["results"]) == 3

    def test_weights_lie_beside_the_file(self, shop: Scratch, monkeypatch):
        from clipcli.runs.check import run as running

        choices = []
        real = running.open_session
        monkeypatch.setattr(
            running, "open_session", lambda choice, *a, **k: choices.append(choice) or real(choice, *a, **k)
        )
        (shop.root / "clipcli.toml").write_text(f'weights_dir = "weights"\n{scratch.CONFIG}', encoding="utf-8")
        monkeypatch.chdir(shop.root / "shop")
        assert run("check", "--config", "../clipcli.toml").code == 1
        assert [choice.weights_dir for choice in choices] == ["../weights"]

    def test_from_a_sub_folder_names_are_as_seen_from_there(self, shop: Scratch, monkeypatch):
        monkeypatch.chdir(shop.root / "shop")
        assert set(run("check", "--paths").lines) == {name.removeprefix("shop/") for name in WRONG}

    def test_only_the_files_named(self, shop: Scratch):
        assert run("check", "shop/red/00.png", "clipcli.toml").lines == ["shop\t1\t0\tyes"]
        for missing in ("shop/gren", "shop/gren/00.png", "shop/gren/*.png"):
            result = run("check", missing, "shop/red")
            assert (result.code, result.stdout) == (4, "")
            assert missing in result.stderr
        assert run("check", "shop/green", "--paths").lines == [WRONG[1]]
        elsewhere = run("check", "clipcli.toml")
        assert (elsewhere.code, elsewhere.lines) == (0, ["shop\t0\t0\tyes"])


class TestChangedSince:
    def test_only_what_changed(self, shop: Scratch):
        base = shop.git("rev-parse", "HEAD").strip()
        assert run("check", "--changed-since", base).lines == ["shop\t0\t0\tyes"]
        shop.draw("shop/red/60.png", "green")
        shop.draw("shop/red/61.png", "red")
        shop.git("add", "shop/red/60.png")
        result = run("check", "--changed-since", "main")
        assert (result.code, result.lines) == (1, ["shop\t2\t1\tno"])
        assert "shop/red/60.png: expected red" in result.stderr

    def test_a_branch_is_held_against_where_it_left(self, shop: Scratch):
        shop.git("checkout", "-q", "-b", "work")
        shop.draw("shop/blue/62.png", "blue")
        shop.commit()
        shop.git("checkout", "-q", "main")
        shop.draw("shop/blue/64.png", "red")
        shop.commit()
        shop.git("checkout", "-q", "work")
        assert run("check", "--changed-since", "main").lines == ["shop\t1\t0\tyes"]

    def test_renames_count_and_deletions_do_not(self, shop: Scratch):
        shop.git("mv", "shop/red/00.png", "shop/green/00.png")
        shop.git("rm", "-q", WRONG[0])
        result = run("check", "--changed-since", "HEAD", "--paths")
        assert (result.code, result.lines) == (1, ["shop/green/00.png"])

    def test_a_changed_predictor_checks_everything(self, shop: Scratch):
        weights(shop.root / "warmth.safetensors")
        config = (shop.root / "clipcli.toml").read_text(encoding="utf-8")
        check = '[checks.warm]\ninclude = ["shop/"]\nhead = "x=warmth.safetensors"\nmin = { x = -9 }\n'
        (shop.root / "clipcli.toml").write_text(f"{config}\n{check}", encoding="utf-8")
        commit = shop.commit()
        asked = ("check", "--changed-since", commit, "--only", "warm")
        assert run(*asked).lines == ["warm\t0\t0\tyes"]
        weights(shop.root / "warmth.safetensors")
        assert run(*asked).lines == ["warm\t0\t0\tyes"]
        save_file({"weight": np.ones((1, 3), np.float32)}, shop.root / "warmth.safetensors")
        assert run(*asked).lines == ["warm\t50\t0\tyes"]

    def test_a_changed_text_checks_its_pair_and_a_changed_table_all_of_its(self, shop: Scratch):
        names = [path.relative_to(shop.root).as_posix() for path in sorted(shop.root.glob("shop/*/*.png"))[::20]]
        for name in names:
            shop.root.joinpath(name).with_suffix(".txt").write_text("red", encoding="utf-8")
        table = shop.root / "shop.csv"
        table.write_text("image,text\n" + "".join(f"{name},red\n" for name in names), encoding="utf-8")
        checks = (
            '[checks.alt]\npairs = ["shop/"]\nmin_score = -1\nfail_under = 0\n'
            '[checks.table]\npairs = "shop.csv"\nmin_score = -1\nfail_under = 0\n'
        )
        (shop.root / "clipcli.toml").write_text(f'model = "models/colours"\n{checks}', encoding="utf-8")
        commit = shop.commit()
        since = ("check", "--changed-since", commit)
        assert run(*since).lines == ["alt\t0\t0\tyes", "table\t0\t0\tyes"]
        shop.root.joinpath(names[0]).with_suffix(".txt").write_text("a red thing", encoding="utf-8")
        assert run(*since).lines == ["alt\t1\t0\tyes", "table\t1\t0\tyes"]
        table.write_text(table.read_text(encoding="utf-8") + f"{names[0]},rot\n", encoding="utf-8")
        assert run(*since).lines == ["alt\t1\t0\tyes", "table\t4\t0\tyes"]

    def test_a_changed_config_checks_everything(self, shop: Scratch):
        (shop.root / "clipcli.toml").write_text(scratch.CONFIG + "min_accuracy = 0.9\n", encoding="utf-8")
        result = run("check", "--changed-since", "HEAD")
        assert (result.code, result.lines) == (0, ["shop\t50\t3\tyes"])

    def test_awkward_names(self, shop: Scratch):
        name = os.fsdecode(b"shop/red/a\nb \xff\xfe.png")
        shop.draw(name, "blue")
        result = run("check", "--changed-since", "HEAD", "--paths", "-0")
        assert os.fsencode(result.stdout) == os.fsencode(name) + b"\0"

    def test_no_such_commit(self, shop: Scratch):
        for ref in ("nowhere", "--output=x"):
            result = run("check", f"--changed-since={ref}")
            assert result.code == 2
            assert "git knows no such commit" in result.stderr
            assert "fetch-depth" in result.stderr
        assert not Path("x").exists()

    def test_no_repository(self, few, monkeypatch, tmp_path: Path):
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        result = few(f'[checks.a]\ninclude = ["disc/"]\nexpect = "red"\n{COLOURS}', "--changed-since", "HEAD")
        assert result.code == 4
        assert "is not in a git repository" in result.stderr


class TestKinds:
    def test_one_label_for_all_with_exclude_and_accuracy(self, few):
        config = f'[checks.a]\ninclude = ["disc/"]\nexclude = ["*low.png"]\nexpect = "red"\n{COLOURS}'
        result = few(config)
        assert (result.code, result.lines) == (1, ["a\t3\t2\tno"])
        assert few(f"{config}min_accuracy = 0.3\n").code == 0

    def test_globs_of_the_command_line_and_bins(self, few):
        for name in ("disc/@eaDir", "disc/#recycle"):
            Path(name).mkdir()
            Path(name, "again.png").write_bytes(Path("disc/red.png").read_bytes())
        config = f'[checks.a]\ninclude = ["disc/"]\nexpect = "red"\n{COLOURS}'
        result = few(config, "-v")
        assert result.lines == ["a\t4\t3\tno"]
        assert "skipped folders: #recycle, @eaDir" in result.stderr
        assert few(config, "--exclude", "*low.png", "--exclude", "green.*").lines == ["a\t2\t1\tno"]
        assert few(config, "disc", "--include", "red.png").lines == ["a\t1\t0\tyes"]
        named = few(config.replace("disc/", "disc/@eaDir/"))
        assert named.lines == ["a\t1\t0\tyes"]
        assert few(config, "--exclude", "disc").code == 0

    def test_forbidden_labels_among_others_and_alone(self, few):
        among = (
            '[checks.a]\ninclude = ["disc/"]\nlabels = ["green", "blue", "yellow"]\nprompts = "plain"\nforbid = "red"\n'
        )
        result = few(among)
        assert (result.code, result.lines) == (1, ["a\t4\t1\tno"])
        assert "disc/red.png: expected not red, found red" in result.stderr
        alone = '[checks.a]\ninclude = ["disc/"]\nprompts = "plain"\nforbid = ["red"]\nbackground = ["blue green"]\n'
        assert "disc/red.png" in few(alone, "--paths").lines

    def test_thresholds_know_their_labels(self, few, tmp_path: Path):
        made = run("calibrate", "disc", "square", "-m", "colours", "-p", "plain", "-l", "red,green,blue,yellow",
                   "--expect-from", self.table(tmp_path), "-o", "t.json")  # fmt: skip
        assert made.code == 0, made.stderr
        what = '[checks.a]\ninclude = ["red.png"]\nprompts = "plain"\nthresholds = "t.json"\n'
        assert few(f'{what}expect = "red"\n').lines == ["a\t2\t0\tyes"]
        assert few(f'{what}forbid = ["red"]\n', "--paths").lines == ["disc/red.png", "square/red.png"]
        assert few(f'{what}expect_from = "parent"\n').lines == ["a\t2\t2\tno"]

    @staticmethod
    def table(folder: Path) -> Path:
        """Each picture is of the colour of its name."""
        names = sorted(path.relative_to(folder) for path in folder.glob("*/*.png"))
        rows = "".join(f"{name},{name.stem}\n" for name in names)
        (folder / "colours.csv").write_text(f"path,label\n{rows}", encoding="utf-8")
        return folder / "colours.csv"

    def test_a_table_beside_the_file(self, few, tmp_path: Path, monkeypatch):
        (tmp_path / "want.csv").write_text("path,label\ndisc/red.png,red\nsquare/red.png,blue\n", encoding="utf-8")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        (tmp_path / "clipcli.toml").write_text(
            f'model = "colours"\n[checks.a]\ninclude = ["red.png"]\nexpect_from = "want.csv"\n{COLOURS}',
            encoding="utf-8",
        )
        result = run("check", "--config", "../clipcli.toml", "--paths")
        assert result.lines == ["../square/red.png"], result.stderr

    def test_folders_name_the_labels_of_a_part_too(self, tmp_path: Path, few):
        for colour in ("red", "blue"):
            (tmp_path / colour).mkdir()
            pictures.disc("red").save(tmp_path / colour / "1.png")
        config = '[checks.a]\ninclude = ["red/", "blue/"]\nprompts = "plain"\nexpect_from = "parent"\n'
        assert few(config, "blue/1.png").code == 1
        assert few(config, "red/1.png").code == 0

    def test_duplicates(self, few, tmp_path: Path):
        (tmp_path / "disc" / "copy.png").write_bytes((tmp_path / "disc" / "red.png").read_bytes())
        config = '[checks.twice]\ninclude = ["disc/"]\nduplicates = "exact"\n'
        result = few(config, "--format", "jsonl")
        assert result.code == 1
        [row] = result.rows
        [failure] = row["failures"]
        assert (failure["image"], failure["found"]) == ("disc/red.png", "exact copy of disc/copy.png") or (
            failure["image"], failure["found"]) == ("disc/copy.png", "exact copy of disc/red.png")  # fmt: skip
        assert "images are duplicates (level exact)" in row["outcome"]
        named = few(config, "--format", "jsonl", "disc/copy.png").rows[0]
        assert [failure["found"] for failure in named["failures"]] == ["exact copy of disc/red.png"]
        (tmp_path / "disc" / "copy.png").unlink()
        assert few(config).code == 0

    def test_scores_of_predictors_keep_their_limits(self, few, tmp_path: Path):
        """The predictor gives 1.4 for red, 1 for yellow and 0 for other colours."""
        weights(tmp_path / "heads" / "warmth.safetensors")
        start = '[checks.warm]\ninclude = ["red.png"]\nhead = "heads/warmth.safetensors"\n'
        holds = few(f"{start}min = {{ warmth = 1.2 }}\nmax.warmth = 2\n")
        assert (holds.code, holds.lines) == (0, ["warm\t2\t0\tyes"])
        assert "warm holds: 2 of 2 images keep warmth at least 1.2 and warmth at most 2" in holds.stderr
        all_of_them = start.replace("red.png", "*.png").replace('"heads', '"tone=heads')
        fails = few(f"{all_of_them}min = {{ tone = 0.5 }}\n", "--format", "jsonl", "--report", "r.xml")
        assert fails.code == 1
        assert [failure["image"] for failure in fails.rows[0]["failures"]] == [
            "disc/blue.png", "disc/green.png", "square/blue.png", "square/green.png",
        ]  # fmt: skip
        assert fails.rows[0]["failures"][0]["expected"] == "tone at least 0.5"
        assert "disc/blue.png: tone is " in fails.stderr
        assert 'failures="4"' in Path("r.xml").read_text(encoding="utf-8")

    def test_each_image_is_like_its_own_text(self, few, tmp_path: Path):
        """In a folder with a text file beside each image, and in a table."""
        for name, text in {"red": "red", "green": "green", "blue": "yellow"}.items():
            (tmp_path / "disc" / f"{name}.txt").write_text(text, encoding="utf-8")
        table = "photo,title\ndisc/red.png,red\ndisc/none.png,blue\n"
        (tmp_path / "shop.csv").write_text(table, encoding="utf-8")
        config = (
            '[checks.alt]\npairs = "disc/"\nmin_score = 0.9\n'
            '[checks.shop]\npairs = ["shop.csv"]\nimage = "photo"\ntext = "title"\nmin_score = 0.9\nfail_under = 0.5\n'
        )
        result = few(config, "--format", "jsonl", "--report", "r.xml")
        assert result.code == 1
        alt, table_row = result.rows
        assert [failure["image"] for failure in alt["failures"]] == ["disc/blue.png", "disc/yellow.png"]
        assert alt["failures"][0]["found"] == "yellow"
        assert "no text" in alt["failures"][1]["error"]
        assert (table_row["ok"], table_row["images"], table_row["failing"]) == (True, 2, 1)
        assert "1 of 2 pairs reach 0.9, 50.0%, needed 50.0%" in table_row["outcome"]
        assert 'testsuite name="alt"' in Path("r.xml").read_text(encoding="utf-8")
        named = run("check", "disc/blue.png", "--only", "alt")
        assert (named.code, named.lines) == (1, ["alt\t1\t1\tno"])
        other = run("check", "square/red.png")
        assert (other.code, other.lines) == (0, ["alt\t0\t0\tyes", "shop\t0\t0\tyes"])

    def test_scores_and_duplicates_in_one_check(self, few, tmp_path: Path):
        weights(tmp_path / "warmth.safetensors")
        (tmp_path / "disc" / "broken.png").write_bytes(b"no picture")
        config = '[checks.a]\ninclude = ["disc/"]\nhead = "warmth.safetensors"\nmin = { warmth = -9 }\n'
        result = few(f'{config}duplicates = "exact"\n')
        assert result.lines == ["a\t5\t1\tno", "a: duplicates\t5\t1\tno"]
        assert few(f'prompts = "plain"\n{config}', "disc/red.png").lines == ["a\t1\t0\tyes"]

    def test_a_head_of_fit_gives_the_labels(self, few, tmp_path: Path):
        (tmp_path / "learnt").mkdir()
        for name in ("red", "blue"):
            folder = tmp_path / "learnt" / name
            folder.mkdir()
            for shape in ("disc", "square"):
                (folder / f"{shape}.png").write_bytes((tmp_path / shape / f"{name}.png").read_bytes())
        made = run("fit", "learnt", "-m", "colours", "-o", "tone.head", "--force")
        assert made.code == 0, made.stderr
        start = '[checks.a]\ninclude = ["red.png"]\nhead = "tone.head"\n'
        assert few(f'prompts = "plain"\n{start}expect = "red"\n').lines == ["a\t2\t0\tyes"]
        assert few(f'{start}forbid = "red"\n').lines == ["a\t2\t2\tno"]
        refused = few(f"{start}min = {{ tone = 5 }}\n")
        assert refused.code == 2
        assert "clipcli.toml:2: check a: a head of clipcli fit has no scores" in refused.stderr

    def test_near_duplicates_and_labels_in_one_check(self, few, tmp_path: Path):
        pictures.disc("red").resize((192, 160)).save(tmp_path / "disc" / "large.jpg")
        what = 'include = ["red.png", "large.jpg"]\nexclude = "square/"\nexpect = "red"\nduplicates = "near"\n'
        config = f"[checks.both]\n{what}{COLOURS}"
        result = few(config)
        assert result.code == 1
        assert result.lines == ["both\t2\t0\tyes", "both: duplicates\t2\t1\tno"]
        assert "near copy of disc/large.jpg" in result.stderr

    def test_a_picture_that_fails_twice_is_one_path(self, few):
        check = f'include = ["disc/"]\nexpect = "red"\n{COLOURS}'
        paths = few(f"[checks.a]\n{check}[checks.b]\n{check}", "--paths").lines
        assert paths == ["disc/blue.png", "disc/green.png", "disc/yellow.png"]

    def test_an_unreadable_picture_fails(self, few, tmp_path: Path):
        (tmp_path / "disc" / "bad.png").write_bytes(b"no")
        result = few(f'[checks.a]\ninclude = ["disc/bad.png"]\nexpect = "red"\n{COLOURS}', "--format", "jsonl")
        assert result.code == 1
        assert "decode" in result.rows[0]["failures"][0]["error"]

    def test_each_model_is_loaded_once(self, few, tmp_path: Path, monkeypatch):
        from clipcli.runs.check import run as running

        opened: list[str] = []
        real = running.open_session
        monkeypatch.setattr(
            running, "open_session", lambda choice, *a, **k: opened.append(choice.model) or real(choice, *a, **k)
        )
        finished: list[str] = []
        monkeypatch.setattr(
            "clipcli.session.session.Session.finish", lambda session: finished.append(session.info.name)
        )
        scratch.colour_model.save(tmp_path / "second")
        check = f'include = ["disc/red.png"]\nexpect = "red"\n{COLOURS}'
        config = f'[checks.a]\n{check}[checks.b]\nmodel = "second"\n{check}[checks.c]\n{check}'
        result = few(config)
        assert [line.split("\t")[0] for line in result.lines] == ["a", "b", "c"]
        assert [Path(name).name for name in opened] == ["colours", "second"]
        assert len(finished) == 2, "of each a fast-starting copy, where one is due"
        opened.clear()
        assert few(config, "--only", "b", "--model", "colours").lines == ["b\t1\t0\tyes"]
        assert opened == ["colours"]


class TestTrouble:
    def test_init_writes_a_start_that_reads_and_never_writes_over(self, tmp_path: Path, monkeypatch):
        from clipcli.config.load import load_config

        monkeypatch.chdir(tmp_path)
        assert run("check", "--init").code == 0
        config = load_config()
        assert [check.name for check in config.checks] == ["shop"]
        Path("clipcli.toml").write_text("# mine\n", encoding="utf-8")
        again = run("check", "--init")
        assert again.code == 6
        assert "already exists" in again.stderr
        assert Path("clipcli.toml").read_text(encoding="utf-8") == "# mine\n"

    def test_init_hides_no_pyproject(self, tmp_path: Path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("pyproject.toml").write_text('[tool.clipcli]\nmodel = "tiny"\n', encoding="utf-8")
        result = run("check", "--init")
        assert result.code == 6
        assert "pyproject.toml has [tool.clipcli], which a clipcli.toml beside it would hide" in result.stderr
        assert not Path("clipcli.toml").exists()
        assert run("check", "--init", "--config", "clipcli.toml").code == 0

    def test_every_key_of_the_start_is_a_key(self, tmp_path: Path):
        from clipcli.config.load import load_config
        from clipcli.runs.check.init_file import START

        awake = START.replace("\n# [", "\n[")
        awake = "".join(
            line.removeprefix("# ") if line.startswith("# ") and "=" in line else line
            for line in awake.splitlines(keepends=True)
        ).replace('labels_file = "labels.txt"', "", 1)
        (tmp_path / "clipcli.toml").write_text(awake, encoding="utf-8")
        config = load_config(str(tmp_path / "clipcli.toml"))
        assert [check.name for check in config.checks] == ["shop", "faces", "nothing-private", "quality", "duplicates"]

    @pytest.mark.parametrize(
        ("config", "code", "words"),
        [
            ("", 4, "holds no checks"),
            ('[checks.a]\ninclude = ["disc/"]\n', 4, "clipcli.toml:2: the check 'a' has no expectation"),
            ('[checks.a]\ninclud = ["disc/"]\n', 4, "clipcli.toml:3: unknown key 'includ'"),
            (
                f'[checks.a]\ninclude = ["nowhere/"]\nexpect = "red"\n{COLOURS}',
                4,
                "check a: no image matches include (nowhere/)",
            ),
            (f'[checks.a]\ninclude = ["disc/"]\nexpect = "rad"\n{COLOURS}', 2, "check a: --expect 'rad' is not one"),
            (
                '[checks.a]\ninclude = ["disc/"]\nexpect_from = "parent"\nmodel = "no/such/one"\n',
                5,
                "clipcli.toml:2: check a: not a model: 'no/such/one'",
            ),
            (
                '[checks.a]\ninclude = ["disc/"]\nhead = "nowhere.safetensors"\nmin = { x = 1 }\n',
                4,
                "clipcli.toml:2: check a: nowhere.safetensors: ",
            ),
            ('\n[checks.a]\ninclude = ["disc/"]\nexpect_from = "parents"\n', 4, "check a: parents is neither .csv nor"),
        ],
    )
    def test_faults_are_one_line_and_a_hint(self, few, config, code, words):
        result = few(config)
        assert result.code == code, result.stderr
        assert words in result.stderr
        assert result.stdout == ""

    def test_no_config_at_all(self, tmp_path: Path, monkeypatch):
        (tmp_path / ".git").mkdir()
        monkeypatch.chdir(tmp_path)
        result = run("check")
        assert result.code == 4
        assert "clipcli check --init" in result.stderr

    def test_a_misspelt_check(self, few):
        result = few(f'[checks.shoes]\ninclude = ["disc/"]\nexpect = "red"\n{COLOURS}', "--only", "shoe")
        assert result.code == 2
        assert "did you mean 'shoes'?" in result.stderr
