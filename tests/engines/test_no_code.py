"""A model folder is data: whatever its configs name, no code of it runs, and nothing asks on stdin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run import run_process

from clipcli.core.console import Console
from clipcli.engines.model_config import check_model_config, parse_json, tokenizer_options
from clipcli.errors import ModelError
from clipcli.models.model import Model
from clipcli.models.spec import Choice

CODE = (
    "import pathlib\npathlib.Path({canary!r}).touch()\nclass Tokenizer: pass\nclass Config: pass\nclass Tower: pass\n"
)
WORDS = ["<pad>", "<unk>", "</s>", "a", "photo", "of", "disc"]
MAPPED: dict[str, Any] = {"AutoTokenizer": [None, "evil.Tokenizer"], "AutoConfig": "evil.Config"}


@pytest.fixture
def model(random_model: str, tmp_path: Path) -> Path:
    """A model with a Hugging Face tokenizer of its own, and code that makes `canary` when it is run."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = Path(shutil.copytree(random_model.removeprefix("local-dir:"), tmp_path / "model"))
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    words.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    change(folder, "open_clip_config.json", lambda it: it["model_cfg"]["text_cfg"].update(hf_tokenizer_name="org/a"))
    (folder / "evil.py").write_text(CODE.format(canary=str(tmp_path / "canary")))
    return folder


def change(folder: Path, name: str, how: Any) -> None:
    path = folder / name
    data = json.loads(path.read_text()) if path.is_file() else {}
    how(data)
    path.write_text(json.dumps(data))


def load(folder: Path) -> Any:
    return Model(Choice(f"local-dir:{folder}", "cpu", "fp32", "openclip"), Console()).encoder


def attack(folder: Path, how: str) -> str:
    """Put an attack into a model's folder; what the message has to name."""
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder)}
    match how:
        case "asked for":
            options = {"trust_remote_code": True}
            change(
                folder, "open_clip_config.json", lambda it: it["model_cfg"]["text_cfg"].update(tokenizer_kwargs=options)
            )
            change(folder, "tokenizer_config.json", lambda it: it.update(auto_map=MAPPED))
            return "trust_remote_code"
        case "mapped":
            change(folder, "tokenizer_config.json", lambda it: it.update(auto_map=MAPPED, tokenizer_class=None))
        case "mapped config":
            change(folder, "config.json", lambda it: it.update(auto_map=MAPPED, model_type="evil"))
        case "mapped deep down":
            change(folder, "tokenizer_config.json", lambda it: it.update(extra=[{"more": {"auto_map": "evil.Config"}}]))
        case "another repository":
            far = {"AutoTokenizer": "org/evil--evil.Tokenizer"}
            change(folder, "tokenizer_config.json", lambda it: it.update(auto_map=far))
        case "unknown class":
            change(folder, "tokenizer_config.json", lambda it: it.update(tokenizer_class="RagTokenizer"))
            return "RagTokenizer"
        case "text tower":
            change(folder, "open_clip_config.json", lambda it: it["model_cfg"]["text_cfg"].update(text))
            change(folder, "config.json", lambda it: it.update(auto_map=MAPPED))
            return "is not a repository"
        case "image tower":
            name = {"timm_model_name": f"local-dir:{folder}"}
            change(folder, "open_clip_config.json", lambda it: it["model_cfg"]["vision_cfg"].update(name))
            return "timm_model_name"
    return "auto_map"


ATTACKS = (
    "asked for", "mapped", "mapped config", "mapped deep down", "another repository", "unknown class", "text tower",
    "image tower",
)  # fmt: skip


@pytest.mark.parametrize("how", ATTACKS)
def test_a_folder_that_brings_code_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str):
    named = attack(model, how)
    monkeypatch.chdir(model)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on stdin"))
    with pytest.raises(ModelError) as caught:
        load(model)
    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert not (tmp_path / "canary").exists()


def test_code_beside_a_tokenizer_that_does_not_name_it_stays_where_it_is(model: Path, tmp_path: Path):
    encoder = load(model)
    assert encoder.tokenizer(["a photo of disc"]).tolist()[0][:5] == [3, 4, 5, 6, 2]
    assert not (tmp_path / "canary").exists()


def test_configs_name_no_files(model: Path, tmp_path: Path):
    """transformers would read what these keys name in place of the file beside them."""
    other = tmp_path / "other.json"
    other.write_text("not a tokenizer")
    files = {"tokenizer_file": str(other), "vocab_file": str(other), "name_or_path": "../other", "_commit_hash": "x"}
    change(model, "tokenizer_config.json", lambda it: it.update(files))
    change(model, "special_tokens_map.json", lambda it: it.update(eos_token="</s>", tokenizer_file=str(other)))  # noqa: S106
    assert load(model).tokenizer(["photo"]).tolist()[0][:2] == [4, 2]


@pytest.mark.thorough
@pytest.mark.parametrize("stdin", [pytest.param(b"y\n", marks=pytest.mark.slow), b""])
def test_nothing_runs_whatever_is_said_on_stdin(model: Path, tmp_path: Path, folder: Path, stdin: bytes):
    attack(model, "mapped" if stdin else "asked for")
    command = ("classify", folder, "-l", "a,b", "-m", f"local-dir:{model}", "--engine", "openclip")
    result = run_process(*command, stdin=stdin, cwd=model)
    assert result.code == 5, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2
    assert not (tmp_path / "canary").exists()


def test_another_tokenizer_makes_another_model(model: Path):
    """Vectors of texts are kept under the fingerprint, and depend on the tokenizer."""
    before = load(model).info.fingerprint
    change(model, "tokenizer.json", lambda it: it["model"]["vocab"].update(cat=7))
    assert load(model).info.fingerprint != before


@pytest.mark.parametrize(
    "text",
    [
        {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}},
        {"tokenizer_kwargs": {"reduction_mask": "syntax"}},
        {"tokenizer_kwargs": {"additional_special_tokens": ["(a+)+$"]}},
        {"tokenizer_kwargs": {"clean": "__import__"}},
        {"tokenizer_kwargs": {"cache_dir": "."}},
        {"tokenizer_kwargs": ["clean"]},
        {"hf_model_name": "../evil"},
        {"hf_model_name": "/srv/evil"},
        {"hf_model_name": "."},
        {"hf_model_name": 7},
        {"width": 10**12},
        {"layers": 10**6},
        {"width": float("nan")},
    ],
)
def test_what_a_config_may_not_say(text: dict[str, Any]):
    with pytest.raises(ModelError, match=r"^m: "):
        check_model_config({"embed_dim": 4, "vision_cfg": {}, "text_cfg": text}, "m")


def test_what_the_configs_of_open_clip_say_is_allowed():
    from clipcli.engines.openclip_registry import configs

    kinds = set()
    for path in configs().values():
        config = parse_json(path)
        check_model_config(config, path.stem)
        kinds |= set(tokenizer_options(config, path.stem))
    assert {"clean", "strip_sep_token"} <= kinds


def test_a_deep_config_is_refused(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(path)
