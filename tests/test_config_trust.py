"""A config file that was found is trusted with less than one that was named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run import assert_one_error, run, run_process

from clipcli.config.load import load_config
from clipcli.config.location import find_config, foreign_config
from clipcli.errors import ConfigError
from clipcli.models.spec import TINY_FOLDER

OTHER_UID = 12_345


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cloned repository, with a bundle in it and one beside it."""
    top = tmp_path / "clone"
    (top / ".git").mkdir(parents=True)
    for bundle in (top / "models" / "ours", tmp_path / "theirs"):
        bundle.mkdir(parents=True)
        (bundle / "manifest.json").write_text("{}")
    (top / "inside").symlink_to("models/ours")
    (top / "outside").symlink_to(tmp_path / "theirs")
    (top / "tiny-link").symlink_to(tmp_path / "theirs")
    (tmp_path / "secret.txt").write_text("a secret of mine\n")
    (top / "labels.txt").write_text("cat\ndog\n")
    (top / "work").mkdir()
    monkeypatch.chdir(top / "work")
    return top


def write(tree: Path, text: str) -> None:
    (tree / "clipcli.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "model",
    ["tiny", "best", "ViT-B-32", "ViT-B-32/laion2b_s34b_b79k", "ViT-B/32", "models/ours", "./models/ours", "inside"],
)
def test_what_a_found_file_may_choose(tree: Path, model: str):
    write(tree, f'model = "{model}"\n[checks.a]\ninclude = ["a/"]\nduplicates = "near"\nmodel = "{model}"\n')
    assert load_config().defaults.model == model


@pytest.mark.parametrize(
    "model",
    [
        "local-dir:models/ours", "local-dir:/tmp/x", "hf-hub:org/name", "ViT-B-32@weights.pt", "../theirs", "outside",
        "/etc", "~/model", "models/../../theirs", "models/ours@x", "tiny-link", "..", "models\\\\..\\\\..\\\\theirs",
    ],
)  # fmt: skip
def test_what_it_may_not_choose(tree: Path, model: str):
    for text in (f'model = "{model}"\n', f'[checks.a]\ninclude = ["a/"]\nduplicates = "near"\nmodel = "{model}"\n'):
        write(tree, text)
        with pytest.raises(
            ConfigError, match=r"clipcli.toml:\d: a config file that was not named may not choose the model"
        ):
            load_config()
        assert load_config("../clipcli.toml")


@pytest.mark.parametrize("key", ["labels_file", "prompts", "thresholds", "groups", "expect_from", "head"])
@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "../../secret.txt"])
def test_files_outside_its_tree(tree: Path, key: str, name: str):
    write(tree, f'[checks.a]\ninclude = ["a/"]\nforbid = ["x"]\nlabels = ["y"]\n{key} = "{name}"\n')
    with pytest.raises(ConfigError, match="outside its own folder"):
        load_config()
    write(
        tree, f'[checks.a]\ninclude = ["a/"]\nexpect_from = "parent"\n{key} = "labels.txt"\n'.replace("groups", "none")
    )


def test_a_head_with_a_name_outside_its_tree(tree: Path):
    write(tree, '[checks.a]\ninclude = ["a/"]\nhead = "x=../secret.safetensors"\nmin = { x = 1 }\n')
    with pytest.raises(ConfigError, match="outside its own folder"):
        load_config()


@pytest.mark.parametrize("name", ["../shop.csv", "/etc", "https://elsewhere.example/00000.tar"])
def test_pairs_outside_its_tree(tree: Path, name: str):
    write(tree, f'[checks.a]\npairs = ["a/", "{name}"]\nmin_score = 0.2\n')
    with pytest.raises(ConfigError, match="outside its own folder"):
        load_config()
    assert load_config("../clipcli.toml")


def test_files_inside_its_tree(tree: Path):
    write(tree, '[checks.a]\ninclude = ["a/"]\nexpect = "cat"\nlabels_file = "labels.txt"\nprompts = "a {}, not a/b"\n')
    assert load_config().checks[0].labels_file == ("labels.txt",)


def test_where_weights_are_read_from(tree: Path):
    write(tree, 'weights_dir = "hub"\n')
    with pytest.raises(ConfigError, match="may not choose the folder of weights"):
        load_config()


def test_the_environment_names_a_file(tree: Path, monkeypatch: pytest.MonkeyPatch):
    write(tree, 'model = "hf-hub:org/name"\nweights_dir = "hub"\n')
    monkeypatch.setenv("CLIPCLI_CONFIG", "../clipcli.toml")
    assert load_config().defaults.model == "hf-hub:org/name"
    monkeypatch.setenv("CLIPCLI_CONFIG", "gone.toml")
    with pytest.raises(ConfigError, match=r"gone.toml: cannot be read"):
        load_config()


def test_a_command_in_a_cloned_repository(tree: Path, folder: Path, tmp_path: Path):
    """What the file names is not loaded: the folder's code would make a file."""
    write(tree, 'model = "local-dir:model"\n')
    (tree / "model").mkdir()
    result = run("classify", folder, "-l", "a,b")
    assert_one_error(result, "clipcli.toml:1", "local-dir:model", "CLIPCLI_CONFIG", code=4)


class TestOwners:
    def test_a_file_of_another_user_is_passed_over(self, tree: Path, monkeypatch: pytest.MonkeyPatch):
        write(tree, 'model = "best"\n')
        assert find_config() == "../clipcli.toml"
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_UID)
        monkeypatch.delenv("SUDO_UID", raising=False)
        assert find_config() is None
        (tree / ".git").rmdir()
        monkeypatch.chdir(tree)
        assert foreign_config() == "clipcli.toml"
        assert load_config().defaults.model is None
        result = run("check")
        assert_one_error(result, "clipcli.toml belongs to another user and is not read", "--config", code=4)
        assert run("doctor", "--format", "jsonl").stdout.count("belongs to another user") == 1

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
    def test_root_reads_what_the_user_behind_sudo_owns(self, tree: Path, monkeypatch: pytest.MonkeyPatch):
        write(tree, 'model = "best"\n')
        os.chown(tree / "clipcli.toml", OTHER_UID, OTHER_UID)
        assert find_config() is None
        monkeypatch.setenv("SUDO_UID", str(OTHER_UID))
        assert find_config() == "../clipcli.toml"
        monkeypatch.setenv("SUDO_UID", "0x0")
        assert find_config() is None

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
    def test_a_repository_of_another_user_is_none(self, tree: Path, monkeypatch: pytest.MonkeyPatch):
        """Its top does not widen the search."""
        write(tree, 'model = "best"\n')
        os.chown(tree / ".git", OTHER_UID, OTHER_UID)
        assert find_config() is None
        link = tree / "work" / "clipcli.toml"
        link.symlink_to("../clipcli.toml")
        assert find_config() == "clipcli.toml"
        os.lchown(link, OTHER_UID, OTHER_UID)
        assert find_config() is None


@pytest.mark.slow
def test_a_command_in_a_process_of_its_own(tree: Path, folder: Path):
    write(tree, f'model = "{TINY_FOLDER}"\n')
    result = run_process("classify", folder, "-l", "a,b", cwd=tree / "work")
    assert_one_error(result, "may not choose the model", code=4)
    assert run_process("classify", folder, "-l", "a,b", cwd=tree / "work", CLIPCLI_CONFIG="../clipcli.toml").code == 0
