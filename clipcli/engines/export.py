"""An OpenCLIP model → a bundle: two graphs through `torch.onnx`, tokenizer, manifest, and the proof that they agree."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from clipcli import bundle as bundles
from clipcli.bundle import staging
from clipcli.engines import compact, onnx, parity, tokenizer_export
from clipcli.engines.image_tower import WholeTower, image_tower
from clipcli.engines.openclip import quiet_open_clip
from clipcli.engines.text_tower import CausalText
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from clipcli.bundle import Bundle, Manifest
    from clipcli.encoder import Encoder, ModelInfo, Scoring
    from clipcli.engines.parity import Verification
    from clipcli.vectors import Pixels, Vectors

OPSET = 18
"""Old enough for every ONNX Runtime that is supported, new enough for torch's exporter not to convert down."""
_EXAMPLE_LENGTH = 9


class Exportable(Protocol):
    """A model as `clipcli.engines.openclip.OpenClipEncoder` has it, in float32 on the CPU."""

    @property
    def model(self) -> Any:
        """The open_clip module, in eval mode."""
        ...

    @property
    def tokenizer(self) -> Any:
        """open_clip's tokenizer: list of n texts → int64 (n, context_length)."""
        ...

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        ...

    @property
    def scoring(self) -> Scoring:
        """How its cosines are read."""
        ...


def export(
    source: Exportable,
    folder: Path,
    *,
    precision: Literal["fp32", "fp16"] = "fp32",
    revision: str | None = None,
    name: str | None = None,
    stamps: Path | None = None,
) -> Bundle:
    """Write `source` as a bundle at `folder`, whole or not at all; it must agree with the source first.

    fp16 stores the weights in half the space, computes in float32, and gets a fingerprint of its own, because rounded
    weights give other vectors. `name` is what the bundle calls itself and its source, by default the source's spec: a
    bundle that will travel should not carry the path of a local folder. `stamps` is where `bundle.read` remembers that
    it is whole, so that its first use need not hash it.

    Raises:
        ModelError: an architecture or a tokenizer that cannot be exported, or vectors that differ from the source's.
        OutputError: the folder cannot be written, or holds something else.
    """
    if any(weight.dtype != torch.float32 or weight.device.type != "cpu" for weight in source.model.parameters()):
        raise ModelError(f"{source.info.name}: export takes a model in fp32 on the CPU", hint="--precision fp32")
    with staging.staged(folder) as stage:
        manifest = _manifest(source, precision, revision, name, stage)
        half_size = precision == "fp16"
        _write_tower(source, "image", stage / bundles.IMAGE_TOWER, half_size=half_size)
        _write_tower(source, "text", stage / bundles.TEXT_TOWER, half_size=half_size)
        staging.seal(stage, manifest)
        _prove(source, bundles.read(stage))
    return bundles.read(folder, stamps=stamps)


def verify(
    bundle: Bundle, source: Encoder, *, pixels: Sequence[Pixels] = (), texts: Sequence[str] = ()
) -> Verification:
    """Check every hash of a bundle, then its vectors against those of its source; see `parity.compare`.

    Raises:
        BundleError: a damaged file.
    """
    bundles.check_hashes(bundle)
    return parity.compare(source, onnx.load(bundle, expected_images=0), pixels=pixels, texts=texts)


def _manifest(source: Exportable, precision: str, revision: str | None, name: str | None, stage: Path) -> Manifest:
    """Write tokenizer.json and say everything but the files."""
    text, spec = tokenizer_export.portable(source.tokenizer)
    (stage / bundles.TOKENIZER).write_text(text, encoding="utf-8")
    fingerprint = source.info.fingerprint
    if precision == "fp16":
        fingerprint = hashlib.sha256(f"{fingerprint} fp16 weights".encode()).hexdigest()[:12]
    return bundles.Manifest(
        info=dataclasses.replace(source.info, name=name or source.info.name, fingerprint=fingerprint),
        scoring=source.scoring,
        precision="fp16" if precision == "fp16" else "fp32",
        source=name or source.info.name,
        revision=revision,
        tokenizer=spec,
        # CoCa keeps it in its text tower only.
        vocab_size=int(getattr(source.model, "text", source.model).vocab_size),
    )


class _Texts(nn.Module):
    """A text tower whose answer depends on its padding: always the whole context."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return _first(self.model.encode_text(tokens, normalize=False))


def _first(output: Any) -> torch.Tensor:
    features: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return features


def _write_tower(source: Exportable, which: Literal["image", "text"], path: Path, *, half_size: bool) -> None:
    info, batch = source.info, torch.export.Dim("batch", min=1, max=1 << 16)
    shape: dict[int, Any] = {0: batch}
    if which == "image":
        tower: nn.Module = image_tower(source.model)
        example, feed = torch.zeros(2, 3, *info.preprocessing.image_size), "pixels"
    elif info.causal_text:
        tower, feed = CausalText(source.model), "tokens"
        example = torch.ones(2, _EXAMPLE_LENGTH, dtype=torch.int64)
        shape[1] = torch.export.Dim("length", min=2, max=info.context_length)
    else:
        tower, feed = _Texts(source.model), "tokens"
        example = torch.ones(2, info.context_length, dtype=torch.int64)
    try:
        with _silence(), torch.no_grad():
            program: Any = torch.onnx.export(
                tower.eval(),  # or BatchNorm inside a wrapper that is new would count as training
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes=(shape,),
                input_names=[feed],
                output_names=["features"],
            )
    except Exception as error:  # the exporter's errors share no narrower base
        raise ModelError(
            f"{info.name}: its {which} tower cannot be exported: {_reason(error)}",
            hint="It keeps working with --engine openclip.",
        ) from error
    compact.save(program.model, path, half=half_size)


@dataclass(frozen=True)
class _Reference:
    """The source as open_clip itself runs it: full context, nothing cut."""

    source: Exportable

    @property
    def info(self) -> ModelInfo:
        return self.source.info

    @property
    def scoring(self) -> Scoring:
        return self.source.scoring

    device = "cpu"
    precision: Literal["fp32"] = "fp32"
    image_lanes = text_lanes = 1

    def encode_images(self, pixels: Pixels) -> Vectors:
        with torch.no_grad():
            return np.asarray(WholeTower(self.source.model)(torch.from_numpy(pixels)).numpy(), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        with torch.no_grad():
            tokens = self.source.tokenizer(list(texts), context_length=self.info.context_length)
            return np.asarray(_Texts(self.source.model)(tokens).numpy(), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [int(row.count_nonzero()) for row in self.source.tokenizer(list(texts))]


def _prove(source: Exportable, made: Bundle) -> None:
    """Raises ModelError unless token ids and vectors are the source's."""
    encoder = onnx.load(made, expected_images=0)
    ours = encoder.tokens(parity.TEXTS)
    theirs = source.tokenizer(list(parity.TEXTS), context_length=source.info.context_length).numpy()
    if not np.array_equal(ours, theirs):
        raise ModelError(
            f"{source.info.name}: its tokenizer cannot be exported: token ids differ from open_clip's",
            hint="It keeps working with --engine openclip.",
        )
    found = parity.compare(_Reference(source), encoder)
    if not found.ok:
        raise ModelError(
            f"{source.info.name}: cannot be exported: vectors differ from open_clip's by {found.images:.1e} (images) "
            f"and {found.texts:.1e} (texts), more than {found.limit:.0e}",
            hint="It keeps working with --engine openclip.",
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter prints its progress and warns about its own internals."""
    with quiet_open_clip(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: the exporter wraps what went wrong in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
