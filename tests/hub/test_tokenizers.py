"""A model whose tokenizer is a repository of its own: fetched with it, and found again offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import small_models
from run import run

if TYPE_CHECKING:
    from pathlib import Path

    import hub_server

VOCABULARY = ["<pad>", "<unk>", "</s>", "a", "photo", "of", "disc", "square", "the"]


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of nine words, as transformers writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106 - not a password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


@pytest.mark.slow
def test_a_tokenizer_comes_with_its_model(
    hub: hub_server.Hub, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    text = {**small_models.CONFIGS["siglip"]["text_cfg"], "context_length": 16, "vocab_size": 100}
    config = {**small_models.CONFIGS["siglip"], "text_cfg": text}
    monkeypatch.setitem(small_models.CONFIGS, "words", config)
    model, words = tmp_path / "model", tmp_path / "words"
    for path in (model, words):
        path.mkdir()
    text["hf_tokenizer_name"] = "org/words"
    small_models.save("words", model)
    save_tokenizer(words)
    hub.files["org/model"] = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.files["org/words"] = {path.name: path.read_bytes() for path in words.iterdir()}

    command = ("classify", "-m", "hf-hub:org/model", folder, "-l", "disc,square", "--no-cache")
    online = run(*command)
    assert online.code == 0, online.stderr
    assert hub.of("tokenizer.json")
    hub.requests.clear()
    hub.status = 503
    assert run(*command, "--offline").stdout == online.stdout
    assert run(*command).stdout == online.stdout
    assert hub.requests == []

    del hub.files["org/words"]
    hub.status = None
    other = run(*command, "--weights-dir", tmp_path / "empty")
    assert other.code == 5
    assert "the hub has no repository org/words" in other.stderr
