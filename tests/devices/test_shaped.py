"""Dynamic inputs get their sizes before a device sees the file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bevlite.devices.graph_file import GraphFile
from bevlite.devices.shaped import shaped
from bevlite.errors import BevliteError
from tests.latency.graphs import model


def written(folder: Path, name: str, shape: tuple[int | str, ...], kind: int = TensorProto.FLOAT) -> Path:
    file = model([helper.make_node("Identity", [name], ["y"])], {name: shape}, ["y"], input_type=kind)
    file.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(file, str(folder / f"{name}.onnx"))
    return folder / f"{name}.onnx"


def test_sizes_go_to_the_file_that_has_the_input(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first, second = written(tmp_path, "a", ("batch", 4)), written(tmp_path, "b", (1, 4))
    found = shaped([first, second], ["a=2x4"], out)
    assert found == [out / "a.onnx", second] and GraphFile.read(found[0]).inputs["a"][1] == (2, 4)
    assert shaped([first], ["3x4"], out) and GraphFile.read(out / "a.onnx").inputs["a"][1] == (3, 4)
    assert shaped([first, second], [], out) == [first, second]
    with pytest.raises(BevliteError, match="--shape: found 'c', which no file has; accepted: an input of one of"):
        shaped([first, second], ["c=1"], out)


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        (
            (-3, 4),
            TensorProto.FLOAT,
            r"has no static shape \(\[-3, 4\]\); accepted: static shapes, for example",
        ),
        ((10**9, 10**4), TensorProto.FLOAT, "has 10,000,000,000,000 elements; accepted: at most"),
        ((1, 4), TensorProto.STRING, "input 'a': found STRING; accepted: a tensor of numbers"),
        ((1, 4), TensorProto.FLOAT8E4M3FN, "input 'a': found FLOAT8E4M3FN; accepted"),
    ],
)
def test_inputs_that_no_array_can_be(shape: tuple[int, ...], kind: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match=said):
        GraphFile.read(written(tmp_path, "a", shape, kind))
