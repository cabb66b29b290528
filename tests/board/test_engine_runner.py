"""The runner of engines against stand-ins for TensorRT and CUDA: it has never run on a board."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.board.engine_runner import RunnerError, run
from tests.board.fake_gpu import FakeLibcuda, fake_tensorrt

FIRST = {"inputs": {"x": ["FLOAT", [2, 3]]}, "outputs": {"map": ["HALF", [2, 3]]}, "factor": 2}
SECOND = {"inputs": {"map": ["HALF", [2, 3]], "t": ["INT32", [4]]}, "outputs": {"y": ["FLOAT", [2, 3]]}, "factor": 10}


def order(folder: Path, engines: list[Any], frames: int = 1, **changes: Any) -> dict[str, Any]:
    paths = []
    for number, engine in enumerate(engines):
        paths.append(str(folder / f"{number}.plan"))
        Path(paths[-1]).write_text(engine if isinstance(engine, str) else json.dumps(engine))
    listed = []
    for number in range(frames):
        x, t = folder / f"x{number}", folder / f"t{number}"
        x.write_bytes((np.arange(6, dtype=np.float32) + number).tobytes())
        t.write_bytes(np.zeros(4, np.int32).tobytes())
        listed.append({"x": str(x), "t": str(t)})
    base = {"engines": paths, "dla_cores": [None] * len(paths), "frames": listed, "keep": ["y", "map"]}
    return base | {"folder": str(folder)} | changes


@pytest.mark.parametrize("major", [8, 10, 11])
def test_engines_are_chained_on_the_device(tmp_path: Path, major: int) -> None:
    library = FakeLibcuda()
    answer = run(order(tmp_path, [FIRST, SECOND], frames=3), fake_tensorrt(library, major), library)
    for number, frame in enumerate(answer["frames"]):
        y = np.fromfile(frame["y"]["path"], frame["y"]["dtype"]).reshape(frame["y"]["shape"])
        assert np.array_equal(y, 20 * (np.arange(6).reshape(2, 3) + number))
        assert frame["map"]["dtype"] == "float16" and frame["map"]["shape"] == (2, 3)
    # x, map, t, y once each, whatever the number of frames: what one engine writes, the next reads where it lies.
    assert library.allocated == 24 + 12 + 16 + 24 and answer["memory_mb"] == pytest.approx(76e-6)


def test_a_dla_core_is_set_before_the_engine_is_loaded(tmp_path: Path) -> None:
    library = FakeLibcuda()
    run(order(tmp_path, [FIRST | {"dla": 1}, SECOND], dla_cores=[1, None]), fake_tensorrt(library), library)


@pytest.mark.parametrize(
    ("engines", "library", "message"),
    [
        (["no plan"], FakeLibcuda(), "deserialization failed"),
        ([FIRST | {"refuses": True}, SECOND], FakeLibcuda(), "engine 1 refused"),
        ([FIRST, SECOND | {"inputs": {"map": ["FLOAT", [2, 3]]}}], FakeLibcuda(), "'map'"),
        ([FIRST | {"outputs": {"map": ["FP8", [2, 3]]}}], FakeLibcuda(), "type FP8"),
        ([FIRST | {"inputs": {"x": ["FLOAT", [2, 4]]}}, SECOND], FakeLibcuda(), "found 24 bytes; the engine takes 32"),
        ([FIRST, SECOND], FakeLibcuda("cuStreamSynchronize"), "cuStreamSynchronize gave 700"),
        ([FIRST, SECOND], FakeLibcuda("cuMemAlloc_v2", 2), "out of memory"),
    ],
)
def test_every_failure_is_one_line(tmp_path: Path, engines: list[Any], library: FakeLibcuda, message: str) -> None:
    with pytest.raises(RunnerError, match=message) as caught:
        run(order(tmp_path, engines), fake_tensorrt(library), library)
    assert "\n" not in str(caught.value)


def test_the_stand_in_does_nothing_before_the_stream_is_waited_for() -> None:
    """Else the tests above would not see a buffer that is read too early."""
    library, address, data = FakeLibcuda(), ctypes.c_uint64(), ctypes.create_string_buffer(b"ab", 2)
    library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(2))
    library.cuMemcpyHtoDAsync_v2(address, data, ctypes.c_size_t(2), ctypes.c_void_p(77))
    assert bytes(library.memory[0].raw) == b"\0\0"
    library.cuStreamSynchronize(ctypes.c_void_p(77))
    assert bytes(library.memory[0].raw) == b"ab"
