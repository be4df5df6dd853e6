"""Small tokenizers of the classes that published models use: the same special tokens, ids and template, few words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = ["a photo of a cat and a dog", "the red car that is parked in front of the old house", "a very long sentence"]
_LETTERS = [*"abcdefghijklmnopqrstuvwxyz"]
_VOCABULARY = 400


def save(kind: str, folder: Path) -> int:
    """Write the files of a tokenizer as a repository has them; its number of words.

    Args:
        kind: a key of `KINDS`.
        folder: where they go; made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = KINDS[kind]()
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def _model(raw: Any, trainer: Any) -> dict[str, Any]:
    """Train on a few sentences; the `model` part of tokenizer.json."""
    raw.train_from_iterator(WORDS * 3, trainer)
    model: dict[str, Any] = json.loads(raw.to_str())["model"]
    return model


def _unigram(special: list[str], unknown: str) -> list[tuple[str, float]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=_VOCABULARY, special_tokens=special, unk_token=unknown, initial_alphabet=[*_LETTERS, "▁"]
    )
    return [(token, score) for token, score in _model(raw, trainer)["vocab"]]


def _byte_pairs(special: list[str], unknown: str | None, before: Any, alphabet: list[str]) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, trainers

    raw = Tokenizer(models.BPE(unk_token=unknown))
    raw.pre_tokenizer = before
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    model = _model(raw, trainer)
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def _t5(pad: str) -> Any:
    """SigLIP's (C4 and mC4) and mT5's: no start token; SigLIP pads with the end token."""
    from transformers import T5Tokenizer

    vocab = _unigram(["<pad>", "</s>", "<unk>"], "<unk>")
    return T5Tokenizer(vocab=vocab, extra_ids=0, pad_token=pad, legacy=False, model_max_length=64)


def _gemma() -> Any:
    """SigLIP 2's: spaces become bars, what has no word becomes bytes, and no start token."""
    from tokenizers import pre_tokenizers
    from transformers import GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pairs = _byte_pairs(special, "<unk>", pre_tokenizers.Metaspace(), [*_LETTERS, "▁"])
    return GemmaTokenizer(**pairs, add_bos_token=False, add_eos_token=True, padding_side="right", model_max_length=64)


def _bert() -> Any:
    """CLIPA's: `[CLS] … [SEP]`, lower case."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=_VOCABULARY, special_tokens=special, initial_alphabet=_LETTERS, show_progress=False
    )
    return BertTokenizer(vocab=_model(raw, trainer)["vocab"], do_lower_case=True, model_max_length=512)


def _nllb() -> Any:
    """`eng_Latn … </s>`: the language stands where others have a start token."""
    from tokenizers import pre_tokenizers
    from transformers import NllbTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pairs = _byte_pairs(special, "<unk>", pre_tokenizers.Metaspace(), [*_LETTERS, "▁"])
    languages = ["eng_Latn", "deu_Latn", "fra_Latn"]
    return NllbTokenizer(**pairs, src_lang="eng_Latn", extra_special_tokens=languages, model_max_length=1024)


def _roberta() -> Any:
    """Byte-level pairs between `<s>` and `</s>`."""
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    before = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], None, before, pre_tokenizers.ByteLevel.alphabet())
    return RobertaTokenizer(**pairs, model_max_length=512)


def _xlm_roberta() -> Any:
    """XLM-RoBERTa's and XLM-V's (MetaCLIP 2 worldwide): `<s> … </s>`."""
    from transformers import XLMRobertaTokenizer

    vocab = _unigram(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>")
    return XLMRobertaTokenizer(vocab=vocab, model_max_length=512)


KINDS: dict[str, Callable[[], Any]] = {
    "siglip": lambda: _t5("</s>"),
    "mt5": lambda: _t5("<pad>"),
    "siglip2": _gemma,
    "bert": _bert,
    "nllb": _nllb,
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
}
