"""Make an ONNX graph portable: no weight stored twice, in float16 when asked for, and no trace of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = 1024
"""Tensors of fewer elements stay float32: norms and biases weigh nothing, and rounding them costs accuracy."""
_WORTH_SHARING = 0.75
_HALF_MAX = 65504.0
_NOISE = 1e-11
"""Share of the strongest direction's energy below which a direction of a table is float32 rounding."""


def save(model: Any, path: Path, *, half: bool) -> None:
    """Write an onnx_ir.Model as `path`, its weights beside it as `path`.data (external data, which engines map)."""
    import onnx_ir

    _forget_origin(model)
    _share_rows(model)
    _factor_rows(model)
    if half:
        _halve(model)
    onnx_ir.save(model, path, external_data=f"{path.name}.data")


def _forget_origin(model: Any) -> None:
    """Drop stack traces and docs: they are nine tenths of a graph file, slow its loading and tell local paths."""
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
    """Store the equal rows of an embedding table once, and a map from token to row: the same vectors, exactly.

    A model that was trained from scratch on few words has one row for all that it never met; `tiny` shrinks to half.
    """
    import onnx_ir

    for table, rows in _tables(model):
        few, places = np.unique(rows, axis=0, return_inverse=True)
        if len(few) > _WORTH_SHARING * len(rows):
            continue
        table.const_value = onnx_ir.tensor(few, name=table.name)
        table.shape = onnx_ir.Shape(few.shape)
        index = onnx_ir.tensor(places.reshape(-1).astype(np.int32), name=f"{table.name}_row")
        place = onnx_ir.val(index.name, const_value=index)
        model.graph.register_initializer(place)
        look_up = next(iter(table.uses())).node
        row = onnx_ir.node("Gather", [place, look_up.inputs[1]], {"axis": 0}, name=f"row_of_{table.name}")
        row.outputs[0].name = f"{table.name}_rows"
        row.outputs[0].dtype, row.outputs[0].shape = onnx_ir.DataType.INT32, look_up.inputs[1].shape
        model.graph.insert_before(look_up, row)
        look_up.replace_input_with(1, row.outputs[0])


def _factor_rows(model: Any) -> None:
    """Store an embedding table of low rank as two thin matrices: rows of few numbers, and what widens a looked-up row.

    A text tower may look up 128 numbers for each token and compute with 512. OpenCLIP has only the product of the two;
    taken apart again, `tiny` has a third of the table. The vectors are the same up to rounding.
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
    """Multiply looked-up rows of `rank` numbers by `right` before anything else uses them."""
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
    """The embedding tables of a graph, each with its rows: large matrices that one Gather takes rows from."""
    found = []
    for table in model.graph.initializers.values():
        uses = list(table.uses())
        if table.const_value is None or len(uses) != 1 or uses[0].node.op_type != "Gather" or uses[0].idx != 0:
            continue
        rows = table.const_value.numpy()
        if rows.ndim == 2 and len(rows) >= _SMALL and rows.dtype == np.float32:  # noqa: PLR2004 - a table
            found.append((table, rows))
    return found


def _halve(model: Any) -> None:
    """Store large float32 weights as float16 and widen them where they are used: computation stays float32.

    An engine widens the weights once, at load. Embedding tables are looked up first and widened after, because the rows
    of a few tokens are all that a run needs.
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
        rest = [use for use in uses if use not in tables]
        if rest:
            wide_again = _widen(model, weight, rest[0].node)
            for use in rest:
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
