"""Config files: what they say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipcli.config.load import load_config
from clipcli.config.location import find_config
from clipcli.config.schema import CheckSpec, Config, Defaults, line_of, lines_of
from clipcli.errors import ConfigError
from clipcli.prompts import parse_labels

FULL = """\
model = "tiny"
offline = true
batch_size = 8
prompts = ["product", "a {} in a shop"]

[checks.shop]
include = ["shop/", "*.png"]
exclude = "shop/drafts/"
labels = ["shoe", "salt, pepper"]
expect_from = "parent"
min_accuracy = 1
threshold = 0.25

[checks."no private things"]
include = ["*.jpg"]
forbid = ["a passport"]
duplicates = "near"
multi_label = true
"""


def load(folder: Path, text: str, name: str = "clipcli.toml") -> Config:
    (folder / name).write_text(text, encoding="utf-8")
    return load_config(str(folder / name))


def fault(folder: Path, text: str, name: str = "clipcli.toml") -> tuple[str, str | None]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, name)
    return caught.value.message.replace(f"{folder}/", ""), caught.value.hint


def test_everything_a_file_can_say(tmp_path: Path):
    config = load(tmp_path, FULL)
    assert config.defaults == Defaults(
        model="tiny", offline=True, batch_size=8, prompts=("product", "a {} in a shop")
    )  # fmt: skip
    assert config.folder == str(tmp_path)
    shop, private = config.checks
    assert shop == CheckSpec(
        name="shop", line=6, include=("shop/", "*.png"), exclude=("shop/drafts/",), labels=("shoe", r"salt\, pepper"),
        expect_from="parent", min_accuracy=1.0, threshold=0.25,
    )  # fmt: skip
    assert (private.name, private.line, private.forbid) == ("no private things", 14, ("a passport",))
    assert (private.duplicates, private.multi_label) == ("near", True)
    assert [label.name for label in parse_labels(shop.labels, [])] == ["shoe", "salt, pepper"]


def test_the_same_in_pyproject(tmp_path: Path):
    check = '[tool.clipcli.checks.a]\ninclude = "a/"\nforbid = "b"\n'
    text = f'[project]\nname = "x"\n\n[tool.clipcli]\nmodel = "tiny"\n\n{check}'
    config = load(tmp_path, text, "pyproject.toml")
    assert config.defaults.model == "tiny"
    assert [(check.name, check.line) for check in config.checks] == [("a", 7)]
    message, hint = fault(tmp_path, text.replace("forbid", "forbids"), "pyproject.toml")
    assert (message, hint) == ("pyproject.toml:9: unknown key 'forbids'", "did you mean 'forbid'?")
    assert "has no [tool.clipcli]" in fault(tmp_path, "[tool.other]\n", "pyproject.toml")[0]


def test_limits_may_be_tables_dotted_or_quoted(tmp_path: Path):
    """`nsfw.unsafe` is one name, however TOML has it written."""
    start = '[checks.a]\ninclude = "a/"\nhead = ["nsfw.safetensors", "like=other.safetensors"]\n'
    spellings = ("max = { nsfw.unsafe = 1 }\n", 'max = { "nsfw.unsafe" = 1.0 }\n', "[checks.a.max]\nnsfw.unsafe = 1\n")
    for spelling in spellings:
        check = load(tmp_path, f"{start}{spelling}").checks[0]
        assert (check.max, check.min) == ({"nsfw.unsafe": 1.0}, {})
        assert check.head == ("nsfw.safetensors", "like=other.safetensors")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("modle = 'tiny'", "1: unknown key 'modle'", "did you mean 'model'?"),
        ("\n\nxyzzy = 1", "3: unknown key 'xyzzy'", "one of model, device"),
        ("[check.a]\n", "1: unknown key 'check'", "did you mean 'checks'"),
        ("a = 1\nb = 2\nc = 3", "1: unknown key 'a' (and 2 more faults)", None),
        ("model = 3", "1: model should be a text, not '3'", None),
        ("offline = 'yes'", "1: offline should be true or false, not 'yes'", None),
        ("batch_size = 0", "1: batch_size should be an integer above 0, not '0'", None),
        ("workers = true", "1: workers should be an integer above 0", None),
        ("[checks.a]\ninclude = []", "2: include should be a text or a list of texts, not '[]'", None),
        ("[checks.a]\ninclude = [1]", "2: include should be a text or a list of texts", None),
        ("[checks.a]\ninclude = 'a'\nmin_accuracy = 95", "3: min_accuracy should be a number from 0 to 1", None),
        ("[checks.a]\ninclude = 'a'\nthreshold = nan", "3: threshold should be a number", None),
        ("[checks.a]\ninclude = 'a'\nduplicates = 'all'", "3: duplicates should be one of exact, near, edited", None),
        ("[checks.a]\ninclude = 'a'\nexpect = 'b'\nthreshold = 7", "4: threshold should be a number from 0 to 1", None),
        ("[checks.a]\nexpect_from = 'parent'", "1: the check 'a' names no images", "include ="),
        ("[checks.'']\ninclude = 'a'\nduplicates = 'near'", "1: a check needs a name", "[checks.NAME]"),
        ("[checks.a]\ninclude = 'a'\nduplicates = 'near'\nthreshold = 0.5", "1: the check 'a' has threshold", None),
        ("[checks.a]\ninclude = 'a'\nduplicates = 'near'\nlabels = ['b']", "1: the check 'a' has labels", "expect"),
        ("[checks.a]\ninclude = 'a'", "1: the check 'a' has no expectation", "expect, expect_from"),
        ("[checks.a]\ninclude = 'a'\nexpect = 'b'", "1: the check 'a' has no labels", "labels"),
        ("[checks.a]\ninclude = 'a'\nexpect = 'b'\nforbid = 'c'", "1: the check 'a' has more", None),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nmin = 5", "4: min should be a table of scores and numbers", None),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nmax = {x = inf}", "4: max should be a table", None),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nmax = {x = true}", "4: max should be a table", None),
        ("[checks.a]\ninclude = 'a'\nmin = {x = 5}", "1: the check 'a' has a limit but no head", "head ="),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nmin = {x = 5}\nlabels = 'b'", "1: the check 'a' has labels", "two"),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nmin = {x = 5}\nforbid = 'b'", "1: the check 'a' has more", None),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'", "1: the check 'a' has no expectation", "min, max"),
        ("[checks.a]\ninclude = 'a'\nhead = 'x'\nduplicates = 'near'", "1: the check 'a' has head", "expect"),
        ("[checks.a]\npairs = 'a.csv'", "1: the check 'a' has pairs but no min_score", "min_score ="),
        ("[checks.a]\ninclude = 'a'\nmin_score = 0.2", "1: the check 'a' has min_score but no pairs", "pairs ="),
        ("[checks.a]\nfail_under = 0.0", "1: the check 'a' has fail_under but no pairs", "pairs ="),
        ("[checks.a]\npairs = 'a'\nmin_score = -1.1", "3: min_score should be a number from -1 to 1", None),
        ("[checks.a]\npairs = 'a'\nmin_score = 0\nlabels = 'b'", "1: the check 'a' has labels, which", "two checks"),
        ("[checks.a]\npairs = 'a'\nmin_score = 0\ninclude = 'b'", "1: the check 'a' has include, which", "two checks"),
        ("[checks.a]\npairs = 'a'\nmin_score = 0\nmin = {x = 1}", "1: the check 'a' has min, which", "two checks"),
        ("[checks.a]\npairs = 'a'\nmin_score = 0\nduplicates = 'near'", "1: the check 'a' has duplicates", "two"),
        ("[checks]\ninclude = 'a'", "2: the check 'include' should be a table", "above include"),
        ("checks = 3", "1: checks should be one table per check", "[checks.NAME]"),
        ("checks = {a = {includ = 'x'}}", "1: unknown key 'includ'", "did you mean 'include'"),
        ("model = tiny\n", "1: not TOML: ", None),
        ("a = 1\na = 2\n", "2: not TOML: cannot overwrite a value", None),
        ("note = '''\n[checks.a]\nincludes = 1\n'''\n[checks.a]\nincludes = 1", "1: unknown key 'note'", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str, hint: str | None):
    said, helped = fault(tmp_path, text)
    assert said.startswith(f"clipcli.toml:{message}")
    assert hint is None or hint in str(helped)


def test_lines_are_found_whatever_the_spelling():
    text = """\
"a.b" = 1
c.d.'e f' = 2
[ x . "y z" ]  # a comment
k = '''
[not.a.table]
no = 1
'''
l = 3
[[list]]
m = "]"
"""
    lines = lines_of(text)
    assert lines["a.b",] == 1
    assert lines["c", "d", "e f"] == lines["c",] == 2
    assert lines["x", "y z"] == 3
    assert lines["x", "y z", "l"] == 8
    assert lines["list", "m"] == 10
    assert not any("not" in place or "no" in place for place in lines)
    assert line_of(lines, ("x", "y z", "deeper", "still")) == 3
    assert line_of(lines, ("nowhere",)) is None


class TestFinding:
    def test_as_far_as_the_top_of_the_repository(self, tmp_path: Path, monkeypatch):
        (tmp_path / "clipcli.toml").write_text("", encoding="utf-8")
        inner = tmp_path / "repo" / "a" / "b"
        inner.mkdir(parents=True)
        (tmp_path / "repo" / ".git").mkdir()
        monkeypatch.chdir(inner)
        assert find_config() is None
        (tmp_path / "repo" / "pyproject.toml").write_text("[tool.other]\n[tool.clipcli]\n", encoding="utf-8")
        assert find_config() == "../../pyproject.toml"
        (tmp_path / "repo" / "clipcli.toml").write_text("", encoding="utf-8")
        assert find_config() == "../../clipcli.toml"
        (inner / "clipcli.toml").write_text("", encoding="utf-8")
        assert find_config() == "clipcli.toml"

    def test_outside_of_a_repository_the_folder_alone(self, tmp_path: Path, monkeypatch):
        (tmp_path / "clipcli.toml").write_text("", encoding="utf-8")
        (tmp_path / "a").mkdir()
        monkeypatch.chdir(tmp_path / "a")
        assert find_config() is None
        assert load_config() == Config()
        monkeypatch.chdir(tmp_path)
        assert find_config() == "clipcli.toml"

    def test_a_pyproject_that_is_not_for_us_may_be_broken(self, tmp_path: Path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pyproject.toml").write_text("[tool.other]\nbroken", encoding="utf-8")
        assert load_config() == Config()

    def test_an_unreadable_file(self, tmp_path: Path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(str(tmp_path / "gone.toml"))


def test_files_are_found_from_the_config(tmp_path: Path):
    (tmp_path / "labels.txt").write_text("a\n", encoding="utf-8")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    (tmp_path / "bundle").mkdir()
    config = load(tmp_path, "")
    assert config.beside("labels.txt") == str(tmp_path / "labels.txt")
    assert config.beside("photo") == "photo"
    assert config.model_beside("bundle") == str(tmp_path / "bundle")
    assert config.model_beside("local-dir:bundle") == f"local-dir:{tmp_path / 'bundle'}"
    assert config.model_beside("ViT-B-32@weights.safetensors") == f"ViT-B-32@{tmp_path / 'weights.safetensors'}"
    assert config.model_beside("hf-hub:org/name@abc") == "hf-hub:org/name@abc"
    assert config.model_beside("tiny") == "tiny"
