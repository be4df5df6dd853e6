"""Token ids and counts through a Hugging Face tokenizer: no texts, short ones, long ones, and from several threads."""

from __future__ import annotations

import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from clipcli.engines.openclip import TextTokens

CONTEXT = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of letters, as transformers writes it."""
    path = tmp_path_factory.mktemp("tokenizer")
    words = ["<pad>", "<unk>", "<s>", "</s>", "<cls>", *string.ascii_lowercase]
    raw = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, [], unk_token="<unk>"))  # noqa: S106
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    special = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<cls>",
    }
    PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=CONTEXT, **special).save_pretrained(path)
    return path


def hugging_face(folder: Path, **options: Any) -> TextTokens:
    return TextTokens(HFTokenizer(str(folder), CONTEXT, **options))


def test_no_texts_have_no_tokens(folder: Path):
    assert hugging_face(folder).count([]) == TextTokens(SimpleTokenizer()).count([]) == []


@pytest.mark.parametrize(
    ("mode", "counts"),
    [(None, [2, 5, 42, 42]), ("clips", [3, 6, 43, 43])],
)
def test_tokens_are_counted_before_the_cut(folder: Path, mode: str | None, counts: list[int]):
    texts = TextTokens(HFTokenizer(str(folder), CONTEXT, tokenizer_mode=mode))
    assert texts.count(["", "cat", "abcde" * 8, " abcde" * 8]) == counts
    assert texts.encode(["", "cat", "abcde" * 8]).shape == (3, CONTEXT)


def test_a_long_text_is_counted_without_a_word_of_transformers(folder: Path, capfd: pytest.CaptureFixture[str]):
    import logging

    logging.getLogger("transformers").setLevel(logging.WARNING)
    assert hugging_face(folder).count(["a" * 100]) == [102]
    assert "sequence length" not in capfd.readouterr().err


def test_threads_do_not_get_each_others_padding(folder: Path):
    texts = hugging_face(folder)
    some = ["a red car"] * 20

    def work(number: int) -> bool:
        return texts.count(some) == [9] * 20 if number % 2 else texts.encode(some).shape == (20, CONTEXT)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(80)))
