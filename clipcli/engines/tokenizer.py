"""The tokenizer of a bundle, without torch: open_clip's clean-up in Python, then the `tokenizers` library; its export.

The export writes one of open_clip's tokenizers as tokenizer.json, and the few settings that this file cannot hold.
"""

from __future__ import annotations

import html
import string
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from clipcli.bundle import TokenizerSpec
from clipcli.bundle.bundle import Clean
from clipcli.errors import BundleError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer as RawTokenizer

    from clipcli.bundle import Bundle

_LONGEST_TOKEN = 128
"""Characters per token of the context that are tokenized; the rest would be cut anyway, and tokenizing a text of some
megabytes takes minutes."""
_SPARE = 4096
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
PROBE = "A photo of 2 dogs, isn't it? naïve café — 東京 🙂"
_CLEAN_UP_BY_FUNCTION = {f"_clean_{name}": name for name in get_args(Clean)}
"""Function of open_clip.tokenizer → open_clip's name of the clean-up."""


def clean(text: str, how: str) -> str:
    """Return a text after open_clip's clean-up `how`, one of the names in `TokenizerSpec`."""
    text = _mended(text)
    if how == "canonicalize":
        # The canonical form of big_vision, with which SigLIP was trained: no punctuation, lower case.
        text = text.replace("_", " ").translate(_NO_PUNCTUATION).lower()
    text = " ".join(text.split())
    return text.lower() if how == "lower" else text


def _mended(text: str) -> str:
    """Repair broken encodings, and unescape HTML entities twice, as open_clip does."""
    # Printable ASCII without "&" is unchanged by both (a test checks it), and importing ftfy takes 60 ms.
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text)))


class Tokenizer:
    """Turns texts into the same token ids as the source model's tokenizer in open_clip."""

    def __init__(self, raw: RawTokenizer, spec: TokenizerSpec, context_length: int) -> None:
        self._raw = raw
        self._spec = spec
        self._context_length = context_length
        self._spelt = {token: index for index in spec.spelt_ids if (token := raw.id_to_token(index))}

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, uncut and without padding, start and end token included."""
        longest = _SPARE + self._context_length * _LONGEST_TOKEN
        cleaned = [clean(text[:longest], self._spec.clean) for text in texts]
        return [
            self._spelt_out(text) if any(token in text for token in self._spelt) else encoding.ids
            for text, encoding in zip(cleaned, self._raw.encode_batch(cleaned), strict=True)
        ]

    def batch(self, ids: Sequence[Sequence[int]], length: int | None = None) -> npt.NDArray[np.int64]:
        """Return ids as (n, length) int64, padded, and cut so that the end token stays; default: context length."""
        spec, length = self._spec, length or self._context_length
        rows = np.full((len(ids), length), spec.pad_id, np.int64)
        for row, tokens in zip(rows, ids, strict=True):
            row[: len(tokens)] = tokens[:length]
            if len(tokens) > length:
                row[length - len(spec.end_ids) :] = spec.end_ids
        if spec.blank_id is not None:
            rows[rows == spec.blank_id] = 0
        return rows

    def token_texts(self, text: str) -> list[tuple[int, str]]:
        """Return ids and texts of the tokens of a byte-level encoding, without start and end token, all of them.

        As in open_clip, a token at the end of a word ends in a space, and a part of a character is U+FFFD.
        """
        from tokenizers.decoders import ByteLevel

        cleaned, decoder = clean(text, self._spec.clean), ByteLevel()
        is_spelt = any(token in cleaned for token in self._spelt)
        ids: list[int] = self._spelt_out(cleaned) if is_spelt else self._raw.encode(cleaned).ids
        start = len(self._raw.encode("").ids) - len(self._spec.end_ids)
        inner = ids[start : len(ids) - len(self._spec.end_ids)]
        return [(index, decoder.decode([self._raw.id_to_token(index) or ""]).replace("</w>", " ")) for index in inner]

    def _spelt_out(self, text: str) -> list[int]:
        """Return the ids of a text that spells special tokens such as `<end_of_text>`, which open_clip recognises."""
        frame: list[int] = self._raw.encode("").ids
        start = frame[: len(frame) - len(self._spec.end_ids)]
        inner: list[int] = []
        for word, _ in self._raw.pre_tokenizer.pre_tokenize_str(text):
            inner += [self._spelt[word]] if word in self._spelt else [t.id for t in self._raw.model.tokenize(word)]
        return [*start, *inner, *self._spec.end_ids]


def load(bundle: Bundle) -> Tokenizer:
    """Open tokenizer.json and check that it belongs to this model.

    Raises:
        BundleError: it cannot be read, or belongs to another model.
    """
    from tokenizers import Tokenizer as RawTokenizer

    spec, path = bundle.manifest.tokenizer, bundle.tokenizer
    try:
        raw = RawTokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower than Exception for a file it cannot parse
        raise BundleError(f"{path}: not a tokenizer: {error}", hint="export or download the model again") from error
    size = raw.get_vocab_size()
    if size != spec.vocab_size:
        raise BundleError(
            f"{path}: another model's tokenizer: {size} tokens instead of {spec.vocab_size}",
            hint="export or download the model again",
        )
    if tuple(raw.encode(spec.probe).ids) != spec.probe_ids or max(spec.probe_ids) >= bundle.manifest.vocab_size:
        raise BundleError(
            f"{path}: another model's tokenizer: it gives other tokens for {spec.probe!r}",
            hint="export or download the model again",
        )
    return Tokenizer(raw, spec, bundle.info.context_length)


def export_tokenizer(tokenizer: Any) -> tuple[str, TokenizerSpec]:
    """Turn an open_clip tokenizer into the text of tokenizer.json, and its spec.

    Raises:
        ModelError: a bundle cannot reproduce this tokenizer.
    """
    how = _CLEAN_UP_BY_FUNCTION.get(tokenizer.clean_fn.__name__)
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
    from tokenizers import Regex, models, pre_tokenizers, processors
    from tokenizers import Tokenizer as RawTokenizer

    if tokenizer.reduction_fn is not None:
        raise ModelError("cannot be exported: its tokenizer drops tokens at random")
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    raw = RawTokenizer(models.BPE(vocab=dict(tokenizer.encoder), merges=merges, end_of_word_suffix="</w>"))
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
    from tokenizers import Tokenizer as RawTokenizer

    inner = tokenizer.tokenizer
    if tokenizer.tokenizer_mode:
        raise ModelError(f"cannot be exported: its tokenizer mode {tokenizer.tokenizer_mode!r} is not covered")
    if getattr(inner, "backend_tokenizer", None) is None:
        raise ModelError("cannot be exported: its tokenizer has no fast form")
    if inner.padding_side != "right" or inner.truncation_side != "right":
        raise ModelError("cannot be exported: its tokenizer pads or cuts on the left")
    raw = RawTokenizer.from_str(inner.backend_tokenizer.to_str())
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
