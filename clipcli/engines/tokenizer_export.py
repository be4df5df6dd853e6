"""Export open_clip's tokenizers as tokenizer.json, and the few settings that this file cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from clipcli.bundle import TokenizerSpec
from clipcli.bundle.bundle import Clean
from clipcli.engines.tokenizer import clean
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer as RawTokenizer

PROBE = "A photo of 2 dogs, isn't it? naïve café — 東京 🙂"
_CLEAN_UPS = {f"_clean_{name}": name for name in get_args(Clean)}
"""Function of open_clip.tokenizer → open_clip's name of the clean-up."""


def portable(tokenizer: Any) -> tuple[str, TokenizerSpec]:
    """Turn an open_clip tokenizer into the text of tokenizer.json, and its spec.

    Raises:
        ModelError: a bundle cannot reproduce this tokenizer.
    """
    how = _CLEAN_UPS.get(tokenizer.clean_fn.__name__)
    if how is None:
        raise ModelError(f"cannot be exported: unknown text clean-up {tokenizer.clean_fn.__name__}")
    if hasattr(tokenizer, "bpe_ranks"):
        raw, pad_id, blank_id, spelt = _byte_pairs(tokenizer), 0, None, tuple(tokenizer.all_special_ids)
    else:
        raw, pad_id, blank_id = _hugging_face(tokenizer)
        spelt = ()
    probe = clean(PROBE, how)
    spec = TokenizerSpec(
        clean=how,
        vocab_size=raw.get_vocab_size(),
        end_ids=_end_ids(raw),
        pad_id=pad_id,
        blank_id=blank_id,
        spelt_ids=spelt,
        probe=probe,
        probe_ids=tuple(raw.encode(probe).ids),
    )
    return raw.to_str(), spec


def _byte_pairs(tokenizer: Any) -> RawTokenizer:
    """Convert CLIP's byte-level BPE (open_clip.SimpleTokenizer), whose words end in `</w>`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    if tokenizer.reduction_fn is not None:
        raise ModelError("cannot be exported: its tokenizer drops tokens at random")
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    raw = Tokenizer(models.BPE(vocab=dict(tokenizer.encoder), merges=merges, end_of_word_suffix="</w>"))
    words = Regex(f"(?i){tokenizer.pat.pattern}")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (tokenizer.decoder[index] for index in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    raw.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)],
    )
    return raw


def _hugging_face(tokenizer: Any) -> tuple[RawTokenizer, int, int | None]:
    """Convert an open_clip.HFTokenizer; transformers' fast tokenizers already use tokenizer.json."""
    from tokenizers import Tokenizer

    inner = tokenizer.tokenizer
    if tokenizer.tokenizer_mode:
        raise ModelError(f"cannot be exported: its tokenizer mode {tokenizer.tokenizer_mode!r} is not covered")
    if getattr(inner, "backend_tokenizer", None) is None:
        raise ModelError("cannot be exported: its tokenizer has no fast form")
    if inner.padding_side != "right" or inner.truncation_side != "right":
        raise ModelError("cannot be exported: its tokenizer pads or cuts on the left")
    raw = Tokenizer.from_str(inner.backend_tokenizer.to_str())
    raw.no_truncation()
    raw.no_padding()
    return raw, inner.pad_token_id, inner.sep_token_id if tokenizer.strip_sep_token else None


def _end_ids(raw: RawTokenizer) -> tuple[int, ...]:
    """Return the ids that the post-processor appends to every text."""
    return _common_end(raw.encode("").ids, raw.encode("a").ids)


def _common_end(frame: Sequence[int], filled: Sequence[int]) -> tuple[int, ...]:
    size = 0
    while size < min(len(frame), len(filled)) and frame[-1 - size] == filled[-1 - size]:
        size += 1
    return tuple(frame[len(frame) - size :])
