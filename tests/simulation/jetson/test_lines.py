"""The shape of what trtexec prints, against real lines.

Sources of the lines: mit-han-lab/efficientvit#52 and NVlabs/FoundationStereo#90 (Orin), OE4T/meta-tegra#2243
(Orin, 10.16.2), lyuwenyu/RT-DETR#47, sunsmarterjie/yolov12#77, NVIDIA/TensorRT#4036, NVIDIA/TensorRT#4658.
"""

from __future__ import annotations

import re

import pytest

from tests.simulation.jetson.conftest import Bench, each_version

REAL = {
    "10.3.0": [
        "[04/21/2025-16:34:20] [I] === Model Options ===",
        "[04/21/2025-16:34:20] [I] Format: *",
        "[04/21/2025-16:34:20] [I] DLACore: ",
        "[04/21/2025-16:34:20] [I] Plugins:",
        "[04/21/2025-16:34:20] [I] setPluginsToSerialize:",
        "[04/21/2025-16:34:20] [I] dynamicPlugins:",
        "[04/21/2025-16:34:20] [I] ignoreParsedPluginLibs: 0",
        "[04/21/2025-16:34:20] [I] === Inference Options ===",
        "[04/21/2025-16:34:20] [I] Batch: Explicit",
        "[04/21/2025-16:34:20] [I] Input inference shapes: model",
        "[04/21/2025-16:34:20] [I] Iterations: 10",
        "[04/21/2025-16:34:20] [I] Duration: 3s (+ 200ms warm up)",
        "[04/21/2025-16:34:20] [I] Sleep time: 0ms",
        "[04/21/2025-16:34:20] [I] Idle time: 0ms",
        "[04/21/2025-16:34:20] [I] Inference Streams: 1",
        "[04/21/2025-16:34:20] [I] ExposeDMA: Disabled",
        "[04/21/2025-16:34:20] [I] Data transfers: Enabled",
        "[04/21/2025-16:34:20] [I] Spin-wait: Disabled",
        "[08/31/2023-15:00:27] [I] Setting persistentCacheLimit to 0 bytes.",
        "[08/31/2023-15:00:27] [I] Using random values for input image",
        "[08/31/2023-15:00:28] [I] Input binding for image with dimensions 1x3x640x640 is created.",
        "[08/31/2023-15:00:28] [I] Output binding for reshape2_95.tmp_0 with dimensions 300x6 is created.",
        "[08/31/2023-15:00:28] [I] Starting inference",
        "[08/31/2023-15:00:31] [I] Warmup completed 45 queries over 200 ms",
        "[08/31/2023-15:00:31] [I] Timing trace has 669 queries over 3.01153 s",
        "[03/21/2025-15:41:29] [I] [TRT] Loaded engine size: 59 MiB",
        "[03/21/2025-15:41:29] [I] Engine deserialized in 0.0905348 sec.",
        "[12/11/2025-10:00:29] [I] Throughput: 12.9581 qps",
        "[12/11/2025-10:00:29] [I] Latency: min = 75.9753 ms, max = 76.4476 ms, mean = 76.3344 ms, median = 76.3436 ms,"
        " percentile(90%) = 76.4209 ms, percentile(95%) = 76.446 ms, percentile(99%) = 76.4476 ms",
    ],
    "10.16.2": [
        '[01/01/1970-03:47:30] [I]   Device 0: "Orin" UUID: GPU-f5507ee1-b6b1-556b-8350-83af993dbffd',
        "[01/01/1970-03:47:30] [I] Selected Device: Orin",
        "[01/01/1970-03:47:30] [I] Selected Device ID: 0",
        "[01/01/1970-03:47:30] [I] Compute Capability: 8.7",
        "[01/01/1970-03:47:30] [I] SMs: 8",
        "[01/01/1970-03:47:30] [I] Device Global Memory: 15536 MiB",
        "[01/01/1970-03:47:30] [I] Shared Memory per SM: 164 KiB",
        "[01/01/1970-03:47:30] [I] Memory Bus Width: 256 bits (ECC disabled)",
        "[01/01/1970-03:47:30] [I] Application Compute Clock Rate: 1.173 GHz",
        "[01/01/1970-03:47:30] [I] Application Memory Clock Rate: 0.408 GHz",
        "[01/01/1970-03:47:30] [I] Note: The application clock rates do not reflect the actual clock rates that the "
        "GPU is currently running at.",
        "[01/01/1970-03:47:30] [I] TensorRT version: 10.16.2",
        "[01/01/1970-03:47:30] [I] Loading standard plugins",
    ],
}


def _shape(line: str) -> str:
    """The line with its stamp, numbers, names and paths left out."""
    line = re.sub(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\]", "[time]", line)
    line = re.sub(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "GPU-uuid", line)
    line = re.sub(r"(for input|binding for) \S+", r"\1 NAME", line)
    return re.sub(r"\d+(\.\d+)?(x\d+)*", "#", line)


@pytest.mark.parametrize("bench", REAL, indirect=True)
def test_real_lines_have_their_like(bench: Bench) -> None:
    assert bench.build().code == 0
    bench.lock_clocks()
    printed = {_shape(line) for line in bench.run("--loadEngine=m.plan").lines}
    missing = [line for line in REAL[bench.state.release.version] if _shape(line) not in printed]
    assert missing == []


@each_version
def test_first_and_last_lines(bench: Bench) -> None:
    answer = bench.build()
    number = {
        "8.5.2": "v8502",
        "8.6.2": "v8602",
        "10.3.0": "v100300",
        "10.16.2": "v101602] [b10",
        "11.4.1": "v110401] [b0",
    }
    mark = f"TensorRT.trtexec [TensorRT {number[bench.state.release.version]}] # /usr/src/tensorrt/bin/trtexec --onnx"
    assert answer.lines[0].startswith(f"&&&& RUNNING {mark}")
    assert "EMULATED" in answer.lines[1]
    assert answer.lines[-1].startswith(f"&&&& PASSED {mark}")


@each_version
def test_severity_decides_the_stream(bench: Bench) -> None:
    bench.build()
    answer = bench.run("--loadEngine=m.plan")  # clocks are not locked: the unstable warning comes
    stamped = re.compile(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] \[([A-Z])\]")
    assert {m[1] for m in map(stamped.match, answer.out.splitlines()) if m} == {"I"}
    assert {m[1] for m in map(stamped.match, answer.err.splitlines()) if m} == {"W"}


@each_version
def test_words_that_differ_by_release(bench: Bench) -> None:
    version = bench.state.release.version
    built = bench.build().out
    ran = bench.run("--loadEngine=m.plan").out
    old = version == "8.5.2"
    assert ("Start parsing network model." in built) is not old
    assert ("Finish parsing network model" in built) is old
    flag = "--buildOnly" if old else "--skipInference"
    assert f"Skipped inference phase since {flag} is added." in built
    newer = version.startswith(("10", "11"))
    assert ("Created engine with size:" in built) is newer
    assert ("Loaded engine with size:" in ran) is newer
    assert ("Created execution context with device memory size:" in ran) is newer
    assert ("=== Build Options ===" in ran) is not newer
    assert ("... Omitting" in ran) is newer
