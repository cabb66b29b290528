"""Emulated boards and small networks for the tests of devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.orin import orin
from bevlite.devices.settings import OrinSettings
from bevlite.simulation.jetson.server import RunningBoard
from tests.waiting import LONG_S

QUICK: dict[str, Any] = {"duration_s": 2.0, "most_queries": 600, "repetitions": 1, "idle_s": 0.05, "cool_s": 0.05}
SHAPE = (1, 16, 32, 32)


def small_net(path: Path, seed: int = 0, *, half: bool = True, last: str = "Relu", domain: str = "") -> Path:
    """A convolution and one more operator; the seed makes its weights, and so its engine, another one."""
    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    weight = np.random.default_rng(seed).standard_normal((16, 16, 3, 3)) / 12
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/neck/conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node(last, ["c"], ["y"], name=f"/neck/last/{last}", domain=domain),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, SHAPE)],
        [helper.make_tensor_value_info("y", kind, SHAPE)],
        [numpy_helper.from_array(weight.astype(dtype), "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def stateful_net(path: Path, kind: int = TensorProto.FLOAT) -> Path:
    """y = x + past / 2."""
    half = numpy_helper.from_array(np.array(0.5, helper.tensor_dtype_to_np_dtype(kind)), "half")
    nodes = [
        helper.make_node("Mul", ["past", "half"], ["faded"], name="/memory/Mul"),
        helper.make_node("Add", ["x", "faded"], ["y"], name="/memory/Add"),
    ]
    values = [helper.make_tensor_value_info(name, kind, [1, 2, 3]) for name in ("x", "past", "y")]
    graph = helper.make_graph(nodes, "stateful", values[:2], values[2:], [half])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def drawn_sequence(count: int = 10) -> list[dict[str, np.ndarray]]:
    """Frames of the stateful network, without state."""
    source = np.random.default_rng(7)
    return [{"x": source.uniform(1, 2, (1, 2, 3)).astype(np.float32)} for _ in range(count)]


def closed_form(frames: Sequence[Mapping[str, np.ndarray]], starts: Collection[int] = ()) -> list[np.ndarray]:
    """What the stateful network gives: each frame of a sequence counts half as much as the one after it."""
    found = []
    for number in range(len(frames)):
        begin = max([0, *(start for start in starts if start <= number)])
        terms = [frames[k]["x"].astype(np.float64) * 0.5 ** (number - k) for k in range(begin, number + 1)]
        found.append(np.sum(terms, axis=0))
    return found


def sample() -> dict[str, np.ndarray]:
    """Inputs of the small network."""
    return {"x": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float16).astype(np.float32)}


def over_ssh(server: RunningBoard, name: str = "emulated", **changes: Any) -> BoardDevice:
    """The device of a served board, with a short protocol and short pauses."""
    values: dict[str, Any] = {
        "type": "orin",
        "ssh": server.host_alias,
        "ssh_config": str(server.ssh_config),
        "sudo": "passwordless",
        "protocol": QUICK,
        "limits": {"backoff_s": 0.05, "reconnect_s": LONG_S},
    }
    values |= {key: values[key] | value if key in ("protocol", "limits") else value for key, value in changes.items()}
    return orin(name, OrinSettings.model_validate(values))
