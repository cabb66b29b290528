"""Which layer of a graph goes wrong first: by building it with more outputs and comparing those."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from bevlite.latency.onnx.graph import load_model
from bevlite.shape_inference import infer_shapes

PROBES = 8
"""Outputs that are added at a time: an output more forbids TensorRT a fusion, a build more takes its minutes."""
_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64)
IsGood = Callable[[Path, Sequence[str]], Mapping[str, bool]]


def first_bad_node(path: Path, is_good: IsGood) -> NodeProto | None:
    """A node whose result is bad although everything that can be seen before it is good.

    Args:
        path: the ONNX file; it is not changed.
        is_good: builds a file, runs it and says of the named tensors whether they are good.

    Returns:
        The node; None when all outputs are good. With added outputs some layers are fused otherwise: a fault that
        needs the fusion may go away, and the search then ends at the last bad tensor that was seen.
    """
    model, _ = load_model(path)
    model = infer_shapes(model)
    graph = _Producers(model)
    results = is_good(path, [output.name for output in model.graph.output])
    bad = next((output.name for output in model.graph.output if not results[output.name]), None)
    if bad is None:
        return None
    cleared: set[str] = set()
    while candidates := [name for name in graph.before(bad) if name not in cleared]:
        places = np.unique(np.linspace(0, len(candidates) - 1, min(PROBES, len(candidates))).astype(int))
        names = [candidates[place] for place in places]
        found = _probe(model, names, is_good)
        worse = next((name for name in names if not found[name]), None)
        for name in names:
            # What a good tensor was computed from is good, unless it hides what is known to be bad.
            if found[name] and worse not in graph.before(name):
                cleared |= {name, *graph.before(name)}
        if worse is not None:
            bad = worse
    return graph.producer[bad]


def _probe(model: onnx.ModelProto, names: Sequence[str], is_good: IsGood) -> Mapping[str, bool]:
    """Build the graph with these tensors as outputs beside its own."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    own = {value.name for value in model.graph.output}
    kinds = {value.name: value for value in model.graph.value_info}
    probed.graph.output.extend(kinds[name] for name in names if name not in own)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(probed, path)
        return is_good(path, names)


class _Producers:
    """Who makes which tensor, and what can be looked at before a tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.producer = {name: node for node in model.graph.node for name in node.output if name}
        self._order = {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}
        known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
        constant = {name for name, node in self.producer.items() if node.op_type == "Constant"}
        self._visible = {name for name, value in known.items() if _has_values(value) and name not in constant}

    def before(self, name: str) -> list[str]:
        """Tensors that `name` is computed from and that can be looked at, in the order of execution."""
        found: set[str] = set()
        open_names = [name]
        while open_names:
            node = self.producer.get(open_names.pop())
            new = set(node.input) & set(self.producer) - found if node is not None else set()
            found |= new
            open_names += new
        return sorted(found & self._visible, key=self._order.__getitem__)


def _has_values(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.elem_type in _TYPES and kind.HasField("shape") and all(d.dim_value > 0 for d in kind.shape.dim)
