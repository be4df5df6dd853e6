"""Export an OpenCLIP model as a bundle: two graphs, tokenizer and manifest, checked against the source."""

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
from clipcli.bundle import stage as staging
from clipcli.engines import onnx, parity
from clipcli.engines.openclip import quiet_open_clip
from clipcli.engines.openclip_towers import CausalText, WholeTower, image_tower
from clipcli.engines.tokenizer import export_tokenizer
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from clipcli.bundle import Bundle, Manifest
    from clipcli.core.encoder import ModelInfo, Scoring
    from clipcli.core.vectors import Pixels, Vectors

_SMALL = 1024
"""Tensors with fewer elements stay float32: norms and biases take little space, and rounding them costs accuracy."""
_WORTH_SHARING = 0.75
_HALF_MAX = 65504.0
_NOISE = 1e-11
"""A direction of a table with less than this share of the largest eigenvalue is float32 rounding."""


def save(model: Any, path: Path, *, half: bool) -> None:
    """Write an onnx_ir.Model to `path`, and its weights to `path`.data as external data, which engines map."""
    import onnx_ir

    _forget_origin(model)
    _share_rows(model)
    _factor_rows(model)
    if half:
        _halve(model)
    onnx_ir.save(model, path, external_data=f"{path.name}.data")


def _forget_origin(model: Any) -> None:
    """Remove stack traces and docs: they are 90 % of a graph file, slow down loading and contain local paths."""
    model.doc_string = model.graph.doc_string = None
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.doc_string = None
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None


def _share_rows(model: Any) -> None:
    """Store equal rows of an embedding table once, with a map from token to row. Vectors do not change.

    In a model trained from scratch on few words, all unseen tokens have the same row; `tiny` shrinks to half.
    """
    import onnx_ir

    for table, rows in _tables(model):
        distinct_rows, row_numbers = np.unique(rows, axis=0, return_inverse=True)
        if len(distinct_rows) > _WORTH_SHARING * len(rows):
            continue
        table.const_value = onnx_ir.tensor(distinct_rows, name=table.name)
        table.shape = onnx_ir.Shape(distinct_rows.shape)
        index = onnx_ir.tensor(row_numbers.reshape(-1).astype(np.int32), name=f"{table.name}_row")
        row_map = onnx_ir.val(index.name, const_value=index)
        model.graph.register_initializer(row_map)
        look_up = next(iter(table.uses())).node
        row = onnx_ir.node("Gather", [row_map, look_up.inputs[1]], {"axis": 0}, name=f"row_of_{table.name}")
        row.outputs[0].name = f"{table.name}_rows"
        row.outputs[0].dtype, row.outputs[0].shape = onnx_ir.DataType.INT32, look_up.inputs[1].shape
        model.graph.insert_before(look_up, row)
        look_up.replace_input_with(1, row.outputs[0])


def _factor_rows(model: Any) -> None:
    """Store an embedding table of low rank as two thin matrices: short rows, and a matrix that widens a row.

    A text tower may look up 128 numbers per token and compute with 512. OpenCLIP stores only the product; factored
    again, the table of `tiny` takes a third of the space. Vectors are the same up to rounding.
    """
    import onnx_ir

    for table, rows in _tables(model):
        wide = rows.astype(np.float64)
        strengths, directions = np.linalg.eigh(wide.T @ wide)
        basis = directions[:, strengths > _NOISE * strengths[-1]]
        rank = basis.shape[1]
        if not rank or rank * sum(rows.shape) > _WORTH_SHARING * rows.size:
            continue
        thin = (wide @ basis).astype(np.float32)
        table.const_value = onnx_ir.tensor(thin, name=table.name)
        table.shape = onnx_ir.Shape(thin.shape)
        widener = onnx_ir.tensor(np.ascontiguousarray(basis.T, np.float32), name=f"{table.name}_basis")
        right = onnx_ir.val(widener.name, const_value=widener)
        model.graph.register_initializer(right)
        _multiply_after(model, next(iter(table.uses())).node.outputs[0], right, rank)


def _multiply_after(model: Any, rows: Any, right: Any, rank: int) -> None:
    """Multiply looked-up rows of `rank` numbers by `right` before they are used."""
    import onnx_ir

    uses, wide = list(rows.uses()), rows.shape
    product = onnx_ir.node("MatMul", [rows, right], name=f"multiply_{rows.name}")
    product.outputs[0].name = f"{rows.name}_full"
    product.outputs[0].dtype, product.outputs[0].shape = rows.dtype, wide
    rows.shape = None if wide is None else onnx_ir.Shape([*wide[:-1], rank])
    model.graph.insert_after(rows.producer(), product)
    for use in uses:
        use.node.replace_input_with(use.idx, product.outputs[0])


def _tables(model: Any) -> list[tuple[Any, Any]]:
    """Return the embedding tables of a graph with their rows: large matrices read by one Gather node."""
    tables = []
    for table in model.graph.initializers.values():
        uses = list(table.uses())
        if table.const_value is None or len(uses) != 1 or uses[0].node.op_type != "Gather" or uses[0].idx != 0:
            continue
        rows = table.const_value.numpy()
        if rows.ndim == 2 and len(rows) >= _SMALL and rows.dtype == np.float32:  # noqa: PLR2004 - a table
            tables.append((table, rows))
    return tables


def _halve(model: Any) -> None:
    """Store large float32 weights as float16 and convert them back for use; computation stays float32.

    An engine converts weights once, at load. Rows of embedding tables are converted after the look-up, since a run
    needs only a few of them.
    """
    import onnx_ir

    for weight in list(model.graph.initializers.values()):
        values = weight.const_value
        if values is None or values.dtype != onnx_ir.DataType.FLOAT or values.size < _SMALL:
            continue
        wide = values.numpy()
        if not np.isfinite(wide).all() or np.abs(wide).max() > _HALF_MAX:
            continue
        uses = list(weight.uses())
        weight.const_value = onnx_ir.tensor(wide.astype(np.float16), name=weight.name)
        weight.dtype = onnx_ir.DataType.FLOAT16
        tables = [use for use in uses if use.node.op_type == "Gather" and use.idx == 0]
        for use in tables:
            _widen_after(model, use.node.outputs[0])
        other_uses = [use for use in uses if use not in tables]
        if other_uses:
            wide_again = _widen(model, weight, other_uses[0].node)
            for use in other_uses:
                use.node.replace_input_with(use.idx, wide_again)


def _widen(model: Any, value: Any, before: Any) -> Any:
    import onnx_ir

    cast = onnx_ir.node("Cast", [value], {"to": onnx_ir.DataType.FLOAT.value}, name=f"widen_{value.name}")
    cast.outputs[0].name = f"{value.name}_wide"
    cast.outputs[0].dtype, cast.outputs[0].shape = onnx_ir.DataType.FLOAT, value.shape
    model.graph.insert_before(before, cast)
    return cast.outputs[0]


def _widen_after(model: Any, rows: Any) -> None:
    import onnx_ir

    uses = list(rows.uses())
    rows.dtype = onnx_ir.DataType.FLOAT16
    cast = onnx_ir.node("Cast", [rows], {"to": onnx_ir.DataType.FLOAT.value}, name=f"widen_{rows.name}")
    cast.outputs[0].name = f"{rows.name}_wide"
    cast.outputs[0].dtype, cast.outputs[0].shape = onnx_ir.DataType.FLOAT, rows.shape
    model.graph.insert_after(rows.producer(), cast)
    for use in uses:
        use.node.replace_input_with(use.idx, cast.outputs[0])


OPSET = 18
"""Supported by every ONNX Runtime that clipcli accepts, and by torch's exporter without conversion."""
_EXAMPLE_LENGTH = 9


class Exportable(Protocol):
    """The interface of `clipcli.engines.openclip.OpenClipEncoder`, in float32 on the CPU."""

    @property
    def model(self) -> Any:
        """Return the open_clip module, in eval mode."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Return open_clip's tokenizer: list of n texts → int64 (n, context_length)."""
        ...

    @property
    def info(self) -> ModelInfo:
        """Return the model's description."""
        ...

    @property
    def scoring(self) -> Scoring:
        """Return the function from cosines to scores."""
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
    """Write `source` as a bundle to `folder`, atomically, after comparing it with the source.

    Args:
        source: the model, in fp32 on the CPU.
        folder: the bundle's folder.
        precision: fp16 stores weights in half the space and computes in float32; the bundle gets its own fingerprint,
            since rounded weights give other vectors.
        revision: the source's commit on its hub.
        name: the name of the bundle and its source, by default the source's spec, which may hold a local path.
        stamps: the folder in which `bundle.read` records checked files, so that the first use need not hash them.

    Raises:
        ModelError: the architecture or tokenizer cannot be exported, or vectors differ from the source's.
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


def _manifest(source: Exportable, precision: str, revision: str | None, name: str | None, stage: Path) -> Manifest:
    """Write tokenizer.json and return the manifest without files."""
    text, spec = export_tokenizer(source.tokenizer)
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
        # CoCa has it in its text tower only.
        vocab_size=int(getattr(source.model, "text", source.model).vocab_size),
    )


class _WholeTextTower(nn.Module):
    """A text tower whose output depends on padding, so it always gets the whole context."""

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
        tower, feed = _WholeTextTower(source.model), "tokens"
        example = torch.ones(2, info.context_length, dtype=torch.int64)
    try:
        with _silence(), torch.no_grad():
            program: Any = torch.onnx.export(
                tower.eval(),  # otherwise BatchNorm inside the new wrapper would be in training mode
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
            hint="it still works with --engine openclip",
        ) from error
    save(program.model, path, half=half_size)


@dataclass(frozen=True)
class _Reference:
    """The source as run by open_clip, with full context."""

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
            return np.asarray(_WholeTextTower(self.source.model)(tokens).numpy(), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [int(row.count_nonzero()) for row in self.source.tokenizer(list(texts))]


def _prove(source: Exportable, bundle: Bundle) -> None:
    """Compare token ids and vectors with the source's. Raises ModelError."""
    encoder = onnx.load(bundle, expected_images=0)
    exported_ids = encoder.tokens(parity.TEXTS)
    source_ids = source.tokenizer(list(parity.TEXTS), context_length=source.info.context_length).numpy()
    if not np.array_equal(exported_ids, source_ids):
        raise ModelError(
            f"{source.info.name}: its tokenizer cannot be exported: token ids differ from open_clip's",
            hint="it still works with --engine openclip",
        )
    comparison = parity.compare(_Reference(source), encoder)
    if not comparison.ok:
        raise ModelError(
            f"{source.info.name}: cannot be exported: vectors differ from open_clip's by {comparison.images:.1e} "
            f"(images) and {comparison.texts:.1e} (texts), more than {comparison.limit:.0e}",
            hint="it still works with --engine openclip",
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the exporter's progress and warnings."""
    with quiet_open_clip(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line; the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
