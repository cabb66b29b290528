"""Inputs and outputs of an engine: random or loaded inputs, outputs by ONNX Runtime, and the files made of them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.trtexec.files import write_bytes, write_json
from bevlite.simulation.jetson.trtexec.log import Failure, Log
from bevlite.simulation.jetson.trtexec.plan import Plan

Arrays = dict[str, npt.NDArray[Any]]
DTYPES: dict[str, type[np.generic]] = {
    "FLOAT": np.float32, "FLOAT16": np.float16, "INT32": np.int32, "INT64": np.int64, "INT8": np.int8,
    "UINT8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
RUNTIME_DTYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
}  # fmt: skip
TYPE_NAMES = {"FLOAT": "Float", "FLOAT16": "Half", "INT32": "Int32", "INT64": "Int64", "INT8": "Int8", "UINT8": "UInt8",
              "BOOL": "Bool"}  # fmt: skip


def _random(shape: list[int], dtype: str, source: np.random.Generator) -> npt.NDArray[Any]:
    if dtype in ("FLOAT", "FLOAT16"):
        return source.uniform(-1.0, 1.0, shape).astype(DTYPES[dtype])
    if dtype == "BOOL":
        return source.integers(0, 2, shape).astype(np.bool_)
    low, high = (0, 256) if dtype == "UINT8" else (-128, 128)
    return source.integers(low, high, shape).astype(DTYPES[dtype])


def bind_inputs(log: Log, plan: Plan, files: dict[str, Path], source: np.random.Generator) -> Arrays:
    """Load or draw the inputs, and print the bindings.

    Raises:
        Failure: an input that the engine has not, a file that is missing or of another size.
    """
    known = [t["name"] for t in plan.inputs]
    for name in files:
        if name not in known:
            raise Failure(
                f'Cannot find input tensor with name "{name}" in the engine bindings! '
                "Please make sure the input tensor names are correct."
            )
    arrays = {}
    for tensor in plan.inputs:
        name, shape, dtype = tensor["name"], tensor["shape"], tensor["dtype"]
        if name in files:
            log.info(f"Using values loaded from {files[name]} for input {name}")
            arrays[name] = _read(files[name], shape, dtype)
        else:
            log.info(f"Using random values for input {name}")
            arrays[name] = _random(shape, dtype, source)
        log.info(f"Input binding for {name} with dimensions {'x'.join(map(str, shape))} is created.")
    for tensor in plan.outputs:
        dims = "x".join(map(str, tensor["shape"]))
        log.info(f"Output binding for {tensor['name']} with dimensions {dims} is created.")
    return arrays


def _read(file: Path, shape: list[int], dtype: str) -> npt.NDArray[Any]:
    try:
        data = file.read_bytes()
    except OSError:
        raise Failure(f"Cannot open file {file}!") from None
    wanted = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if len(data) != wanted:
        raise Failure(
            f"Note: The binding of {file} has {wanted} bytes, but the file has {len(data)} bytes",
            "Error occurred during inference",
        )
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


def compute(board: BoardFolder, plan: Plan, inputs: Arrays) -> Arrays:
    """The outputs: of the network by ONNX Runtime, off by what the engine's precisions cost."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(plan.model, settings, providers=["CPUExecutionProvider"])
    wanted = {i.name: RUNTIME_DTYPES.get(i.type) for i in session.get_inputs()}
    fed = {name: array.astype(wanted[name] or array.dtype) for name, array in inputs.items()}
    names = [t["name"] for t in plan.outputs]
    source = np.random.default_rng(len(plan.model))
    broken = board.faults.take("nan_outputs") is not None
    out = {}
    for tensor, value in zip(plan.outputs, session.run(names, fed), strict=True):
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            spread = float(array.std(dtype=np.float64)) or 1.0  # in FP16 the sum of squares overflows
            array = array + source.normal(0.0, plan.noise * spread, array.shape)
            if broken:
                array = np.full_like(array, np.nan)
        out[tensor["name"]] = np.ascontiguousarray(array.astype(DTYPES[tensor["dtype"]]))
    return out


def write_raw(log: Log, board: BoardFolder, plan: Plan, inputs: Arrays, outputs: Arrays) -> None:
    """`--dumpRawBindingsToFile`: one file a binding in the working folder.

    Raises:
        Failure: as `write_bytes`.
    """
    log.info("Dumping I/O Bindings to RAW Files:")
    for role, tensors, arrays in (("input", plan.inputs, inputs), ("output", plan.outputs, outputs)):
        for tensor in tensors:
            dims = ".".join(map(str, tensor["shape"]))
            kind = TYPE_NAMES[tensor["dtype"]]
            name = re.sub(r"[^A-Za-z0-9_.,-]", "_", f"{tensor['name']}.{role}.{dims}.{kind}.raw")
            log.info(
                f"Writing file for {role} binding {tensor['name']} (with datatype {kind} and dimensions {dims}) "
                f"to {name}"
            )
            write_bytes(board, Path(name), arrays[tensor["name"]].tobytes())


def write_output_json(board: BoardFolder, path: Path, plan: Plan, outputs: Arrays) -> None:
    """`--exportOutput`.

    Raises:
        Failure: as `write_bytes`.
    """
    rows = []
    for tensor in plan.outputs:
        values = ", ".join(f"{v:g}" for v in outputs[tensor["name"]].ravel().tolist())
        dims = "x".join(map(str, tensor["shape"]))
        name = json.dumps(tensor["name"])
        rows.append(f'{{ "name" : {name}\n  , "dimensions" : "{dims}"\n  , "values" : [ {values} ]\n  }}\n')
    write_json(board, path, "[\n  " + ", ".join(rows) + "]\n")
