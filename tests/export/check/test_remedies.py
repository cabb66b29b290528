"""What the operator check says to do about a file is tried: what follows it is taken, and gives the same numbers.

Taken by NVIDIA's own parser and builder (all files of one opset at once), and by our check on the versions that the
file before was refused on. The numbers are ONNX Runtime's, on inputs of both signs.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import bevlite.export.check
from bevlite.export.check.operators import check_model
from bevlite.rtx.compiler import build_model
from tests.export.check import remedies, remedies_of_layers
from tests.export.check.remedies import Case
from tests.rtx.conftest import needs_compiler

CASES: list[Case] = [
    *remedies.mod_cases(), *remedies.sampling_cases(), *remedies.scatter_cases(), *remedies.selection_cases(),
    *remedies.quantized_cases(), *remedies.product_cases(), *remedies_of_layers.layer_cases(),
    *remedies_of_layers.resize_cases(), *remedies_of_layers.type_cases(),
]  # fmt: skip
NOT_TRIED = {
    "export it again": "the file says nothing that could be kept",
    "export it again: such a graph computes nothing": "the file says nothing that could be kept",
    "express it in stock operators": "nobody knows what a foreign operator computes",
    "ship libnvinfer_plugin with the engine, or express it in stock operators": "the file stays as it is",
    "rewrite it in operators that the version supports": "stands for operators without a remedy of their own",
    "use a version from 10.1 on, or ordinary convolutions": "another board, or another network",
    "use at most {TOPK_LIMIT}": "another network",
    "use fewer than {TOPK_LIMIT}": "another network",
    "use TopK with a fixed K, or do it outside the network": "another output",
    "calibrate again: a zero range gives scale 0": "calibration, not rewriting",
    "quantise activations per tensor": "calibration, not rewriting",
    "quantise symmetrically": "calibration, not rewriting",
    "quantise to INT8 with a zero point of 0: a missing one means UINT8": "calibration, not rewriting",
    "name an axis that it has": "the file is none",
    "use linear": "another cache",
    "give 0 or more": "runs through a plugin, which the compiler does not have",
    "train it without": "training, not rewriting",
    "use nearest, linear or cubic": "the file is none",
    "keep keys and values outside of it": "another interface",
    "set the flag": "how the engine is built",
    "make it smaller": "another network",
    "use INT8 or FP16": "calibration, not rewriting",
}
"""Why a remedy cannot be tried on a small file."""


FILLED = {
    "export at opset {(17 if high >= 17 else high)}": "export at opset 17",
    "make it {narrow}": "make it INT32",
    "{where}, or export LayerNormalization at opset 17 (from 8.6 on)": "build these layers in FP32, or export "
    "LayerNormalization at opset 17 (from 8.6 on)",
}
"""Texts that are put together, as one of them is printed."""


def feeds_of(case: Case, model: onnx.ModelProto) -> dict[str, Any]:
    """Values of both signs for every input of a model; those that the case gives, in its type."""
    rng = np.random.default_rng(0)
    found = {}
    for value in model.graph.input:
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name in case.feeds:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            given = np.asarray(case.feeds[value.name]).astype(kind)
            found[value.name] = given.reshape(shape) if all(shape) else given
        else:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            found[value.name] = rng.standard_normal(shape).astype(np.float32).astype(kind)
    return found


def model_of(case: Case, after: bool) -> onnx.ModelProto:
    """One of the two files; a sparse constant has no text."""
    if not after and case.before == "SPARSE":
        values = numpy_helper.from_array(np.array([2, -1], np.float32), "c_values")
        places = numpy_helper.from_array(np.array([1, 3]), "c_places")
        sparse = helper.make_sparse_tensor(values, places, [4])
        nodes = [
            helper.make_node("Constant", [], ["c"], sparse_value=sparse),
            helper.make_node("Add", ["x", "c"], ["y"]),
        ]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (4,)) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:])
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", case.opset)])
    return case.model(after)


def run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.remedy[:50])
def test_what_follows_a_remedy_gives_the_same_numbers(case: Case) -> None:
    before, after = model_of(case, after=False), model_of(case, after=True)
    found = [f for f in check_model(before, precision=case.precision) if f.remedy == case.remedy]
    assert found, {f.remedy for f in check_model(before, precision=case.precision)}
    versions = sorted({f.version for f in found} - set(case.not_on))
    left = check_model(after, versions, case.precision_after or case.precision)
    assert [f for f in left if f.severity != "warning" or f.reason == found[0].reason] == []
    if case.judge == "by hand":
        wanted = list(case.expected)
    elif case.judge == "reference":
        wanted = ReferenceEvaluator(before).run(None, feeds_of(case, before))
    else:
        wanted = run(before, feeds_of(case, before))
    given = run(after, feeds_of(case, after)) if not _reference_alone(after) else _by_reference(case, after)
    assert len(given) == len(wanted)
    for mine, theirs in zip(given, wanted, strict=True):
        assert np.isfinite(np.asarray(mine, np.float64)).all() and np.asarray(mine).size
        numbers = np.asarray(theirs, np.float64).reshape(np.shape(mine))  # a batch axis more is no other number
        np.testing.assert_allclose(np.asarray(mine, np.float64), numbers, rtol=1e-5, atol=case.tolerance)


def _reference_alone(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "TensorScatter" for node in model.graph.node)


def _by_reference(case: Case, model: onnx.ModelProto) -> list[np.ndarray]:
    return list(ReferenceEvaluator(model).run(None, feeds_of(case, model)))


@needs_compiler
def test_nvidias_builder_takes_what_follows_a_remedy() -> None:
    """All of one opset in one file, which takes seconds where a build of each would take minutes."""
    groups: dict[int, list[onnx.ModelProto]] = defaultdict(list)
    for number, case in enumerate(CASES):
        model = case.model(after=True)
        groups[model.opset_import[0].version].append(onnx.compose.add_prefix(model, f"c{number}/"))
    refused = {}
    for opset, models in groups.items():
        built = build_model(_joined(models))
        if not built.accepted:
            refused[opset] = [error.reason for error in built.errors]
    assert refused == {}


def _joined(models: list[onnx.ModelProto]) -> onnx.ModelProto:
    """Graphs side by side in one file."""
    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    for model in models[1:]:
        joined.graph.node.extend(model.graph.node)
        joined.graph.input.extend(model.graph.input)
        joined.graph.output.extend(model.graph.output)
        joined.graph.initializer.extend(model.graph.initializer)
    return joined


def test_every_remedy_is_tried_or_has_a_reason() -> None:
    """The texts as they stand in the rules, against those of the cases."""
    printed = set()
    for file in Path(bevlite.export.check.__file__).parent.glob("*.py"):
        printed |= _texts(ast.parse(file.read_text()))
    tried = {case.remedy for case in CASES}
    assert sorted(printed - tried - set(NOT_TRIED)) == []
    assert sorted(set(NOT_TRIED) & tried) == []


def _texts(tree: ast.AST) -> set[str]:
    """Of every `Problem` the remedy, of every name `remedy` and of REMEDIES the text."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Problem", "_warn", "found.append"):
            at = 1 if getattr(node.func, "id", "") == "_warn" else 2
            found |= _constants(node.args[at]) if len(node.args) > at else set()
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "remedy":
            found |= _constants(node.value)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "REMEDIES":
            assert isinstance(node.value, ast.Dict)
            found |= {text for value in node.value.values for text in _constants(value)}
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 4:
            found |= _constants(node.value.elts[2])
    return found


def _constants(value: ast.expr) -> set[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return {value.value}
    if isinstance(value, ast.JoinedStr):
        text = ast.unparse(value)[2:-1]
        return {FILLED.get(text, text)}
    return {text for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr) for text in _constants(child)}
