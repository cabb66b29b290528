"""Parsers against the lines and files that public logs and NVIDIA's sources show."""

from __future__ import annotations

import math

import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.jobs import precisions
from bevlite.agent.process import Finished
from bevlite.agent.system import tegrastats
from bevlite.agent.trtexec import documents, log

SUMMARY = """[04/11/2025-10:36:33] [I] Average on 10 runs - GPU latency: 11.4821 ms - Host latency: 11.6034 ms
[04/11/2025-10:36:33] [I] === Performance summary ===
[04/11/2025-10:36:33] [I] Throughput: 86.6428 qps
[04/11/2025-10:36:33] [I] Latency: min = 11.4009 ms, max = 12.9851 ms, mean = 11.5312 ms, median = 11.5107 ms, percentile(90%) = 11.6021 ms, percentile(95%) = 11.6702 ms, percentile(99%) = 12.1093 ms
[04/11/2025-10:36:33] [I] H2D Latency: min = 0 ms, max = 1e-05 ms, mean = 0 ms, median = 0 ms, percentile(99%) = 0 ms
[04/11/2025-10:36:33] [I] GPU Compute Time: min = 11 ms, max = 1.2e+01 ms, mean = 11.4 ms, median = 11.4821 ms, percentile(90%) = 11.6 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8502] # /usr/src/tensorrt/bin/trtexec --loadEngine=m.plan
"""  # noqa: E501
JP5 = "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"  # noqa: E501
JP6 = "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU [14%@2188,9%@2188] EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off NVJPG off OFA off PVA0_FREQ off APE 174 cpu@52.562C soc2@48.437C soc0@49.093C tj@52.562C soc1@49.656C VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW"  # noqa: E501
JP7 = "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201] EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDLA0 off PVA0_FREQ off APE 174 cpu@52.968C/52.968C soc2@48.406C/48.406C gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"  # noqa: E501


def test_tegrastats_of_jetpack_5() -> None:
    found = tegrastats.parse(JP5)
    assert found is not None
    assert found.rails_w == {"VDD_GPU_SOC": 2.34, "VDD_CPU_CV": 0.39, "VIN_SYS_5V0": 4.025, "VDDQ_VDD2_1V8AO": 0.301}
    assert found.temperatures_c["tj"] == 44.343 and "gpu" not in found.temperatures_c  # -256: no power
    assert found.gpu_load == 0 and found.gpu_mhz is None and found.emc_mhz == 2133 and found.ram_used_mb == 4321


def test_tegrastats_of_jetpack_6() -> None:
    found = tegrastats.parse(JP6)
    assert found is not None and found.rails_w["VDD_CPU_CV"] == 1.607 and len(found.rails_w) == 3
    assert found.temperatures_c["soc0"] == 49.093


def test_tegrastats_of_jetpack_7() -> None:
    found = tegrastats.parse(JP7)
    assert found is not None and found.rails_w == {"VDD_GPU_SOC": 5.139, "VDD_CPU_CV": 3.268, "VIN_SYS_5V0": 5.5}
    assert found.gpu_load == 0.12 and found.gpu_mhz == 1300 and found.temperatures_c["gpu"] == 47.625


@pytest.mark.parametrize(
    ("text", "mhz"), [("GR3D_FREQ 10%@1300", 1300.0), ("GR3D_FREQ 0%", None), ("GR3D_FREQ 9%@[0,611]", 611.0)]
)
def test_every_form_of_the_gpu_clock(text: str, mhz: float | None) -> None:
    found = tegrastats.parse(f"RAM 1/2MB {text} VDD_IN 4000/3900")
    assert found is not None and found.gpu_mhz == mhz and found.rails_w == {"VDD_IN": 4.0}


def test_another_line_is_none_of_tegrastats() -> None:
    assert tegrastats.parse("sudo: a password is required") is None


def test_the_summary_and_not_the_averages() -> None:
    found = log.summary(SUMMARY)
    assert found.throughput_qps == 86.6428
    assert found.medians_ms == {"Latency": 11.5107, "H2D Latency": 0.0, "GPU Compute Time": 11.4821}
    assert log.summary("nothing").medians_ms == {}


def test_a_summary_without_the_end_marker_is_a_failure() -> None:
    assert log.passed(Finished(0, SUMMARY, 1.0))
    assert not log.passed(Finished(0, SUMMARY.replace("PASSED", "FAILED"), 1.0))
    assert not log.passed(Finished(137, SUMMARY, 1.0))


UNSUPPORTED = """[I] [TRT] No importer registered for op: DeformConv. Attempting to import as plugin.
[04/11/2025-10:36:33] [E] [TRT] ModelImporter.cpp:771: While parsing node number 12 [DeformConv -> "out"]:
[04/11/2025-10:36:33] [E] [TRT] ModelImporter.cpp:777: ERROR: builtin_op_importers.cpp:4951 In function importFallback:
[8] Assertion failed: creator && "Plugin not found, are the plugin name, version, and namespace correct?"
&&&& FAILED TensorRT.trtexec [TensorRT v8502]"""
LOADED = """[I] [TRT] No importer registered for op: EfficientNMS_TRT. Attempting to import as plugin.
[I] [TRT] Searching for plugin: EfficientNMS_TRT, plugin_version: 1, plugin_namespace:
[I] [TRT] Successfully created plugin: EfficientNMS_TRT
"""
STAMP = "[04/11/2025-10:36:33] [E] "


@pytest.mark.parametrize(
    ("text", "code", "exit_code", "words"),
    [
        (UNSUPPORTED, "unsupported_operator", 1, "DeformConv (output 'out')"),
        (STAMP + "[TRT] Error Code 10: Could not find any implementation for node Conv_3.", "no_implementation", 1,
         "Conv_3"),
        ("[W] [TRT] Tactic Device request: 4229MB Available: 2658MB. Device memory is insufficient to use tactic.\n"
         + STAMP + "[TRT] Error Code 10: Internal Error (Could not find any implementation for node Conv_3.)",
         "out_of_memory", 1, "Conv_3"),
        (LOADED + STAMP + "[TRT] Error Code 10: Internal Error (Could not find any implementation for node a + b.)",
         "no_implementation", 1, "a + b"),
        (LOADED + STAMP + "[defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)",
         "out_of_memory", 1, ""),
        (LOADED, "killed", 137, "memory"),
        (LOADED + STAMP + "[TRT] FP8 is not supported on this hardware", "trtexec_failed", 1, "FP8"),
        (LOADED + UNSUPPORTED, "unsupported_operator", 1, "DeformConv (output 'out')"),
        (STAMP + "[defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)", "out_of_memory", 1, ""),
        ("[W] [TRT] Tactic Device request: 4229MB Available: 2658MB. Device memory is insufficient to use tactic.",
         "out_of_memory", 1, ""),
        (STAMP + "[TRT] The engine plan file is not compatible with this version of TensorRT, expecting library "
         "version 8.6.1.6 got 8.6.0.12, please rebuild.", "engine_other_version", 1, "8.6.0.12"),
        (STAMP + "[TRT] IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is not "
         "compatible with this version of TensorRT, expecting library version 10.3.0.26 got 8.6.2.3, please rebuild.)",
         "engine_other_version", 1, ""),
        (STAMP + "[TRT] The engine plan file is generated on an incompatible device, expecting compute 8.7 got compute "
         "8.6, please rebuild.", "engine_other_module", 1, "8.6"),
        (STAMP + "Error opening engine file: x", "engine_unreadable", 1, ""),
        (STAMP + "Cannot create DLA engine, 0 not available", "dla_unavailable", 1, ""),
        (STAMP + "Unknown option: --fp16 ", "unknown_version", 1, "--fp16"),
        ("[I] Starting inference", "killed", 137, "memory"),
        ("[I] Starting inference", "killed", -9, "memory"),
        ("", "trtexec_failed", 139, "139"),
        (STAMP + "could not write x.plan: No space left on device", "disk_full", 1, ""),
    ],
)  # fmt: skip
def test_why_it_failed(text: str, code: str, exit_code: int, words: str) -> None:
    fault = log.failure(Finished(exit_code, text, 1.0), "build")
    assert fault.code == code and words in fault.message and "\n" not in fault.message


def test_the_first_error_of_both_loggers_is_found() -> None:
    """trtexec's has the severity behind the time, Python's the name of the library between them."""
    for error in ("[11/21/2026-10:00:00] [E] the cause", "[11/21/2026-10:00:00] [TRT] [E] the cause"):
        text = f"[11/21/2026-10:00:00] [TRT] [W] a warning\n{error}\n[11/21/2026-10:00:01] [TRT] [F] later\nend\n"
        assert log.first_error(text) == error
    assert log.first_error("a\nb\n") == "b" and log.first_error("") == "no output"
    killed = log.failure(Finished(137, "", 1.0), "frames", "frame_timer")
    assert killed.message.startswith("frame_timer was killed")


def test_a_note_on_int64_is_no_failure_of_an_operator() -> None:
    note = (
        "[W] [TRT] Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support it"
    )
    assert log.failure(Finished(1, note, 1.0), "build").code == "trtexec_failed"


def test_dla_census_names_what_fell_back() -> None:
    text = """[W] [TRT] Default DLA is enabled but layer norm_1 is not supported on DLA, falling back to GPU.
[W] [TRT] DLA supports only 16 subgraphs per DLA core. Switching to GPU for layer conv_9 + relu_9
[I] [TRT] ---------- Layers Running on DLA ----------
[I] [TRT] [DlaLayer] {ForeignNode[a...b]}
[I] [TRT] ---------- Layers Running on GPU ----------
[I] [TRT] [GpuLayer] POOLING: pool_2"""
    found = log.dla_census(text)
    assert found.on_dla == ["{ForeignNode[a...b]}"] and found.on_gpu == ["POOLING: pool_2"]
    assert found.fell_back == ["norm_1", "conv_9 + relu_9"]


def test_times_of_queries() -> None:
    text = (
        '[\n  { "startEnqMs" : 0.0123, "h2dMs" : 0.1, "computeMs" : 11.5, "d2hMs" : 0.1, "latencyMs" : 11.7 }\n'
        ', { "startEnqMs" : 1e+06, "h2dMs" : 0.1, "computeMs" : 12, "d2hMs" : 0.2, "latencyMs" : 12.3 }\n]\n'
    )
    assert documents.times(text) == ([11.5, 12.0], [0.1, 0.1], [0.1, 0.2])
    for cut in (len(text) // 2, len(text) - 3):
        with pytest.raises(Fault) as caught:
            documents.times(text[:cut])
        assert caught.value.code == "truncated_json"


def test_profile_with_names_that_are_not_escaped() -> None:
    text = """[
  { "count" : 262 }
, { "name" : "Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", "timeMs" : 30.1, "averageMs" : 0.1149, "medianMs" : 0.1143, "percentage" : 1.02 }
, { "name" : "{ForeignNode["a\\b", c...d]}", "timeMs" : 0, "averageMs" : 0, "medianMs" : 0, "percentage" : -nan }
]
"""  # noqa: E501
    rows = documents.profile(text)
    assert [row.median_ms for row in rows] == [0.1143, 0.0] and rows[1].name == '{ForeignNode["a\\b", c...d]}'
    with pytest.raises(Fault):
        documents.profile(text[:-4])


def test_outputs_with_values_that_are_none() -> None:
    text = '[ { "name" : "nan", "dimensions" : "1x2x2", "values" : [ 1, -nan, inf, -2.5e-3 ] } ]'
    (row,) = documents.outputs(text)
    assert row["name"] == "nan" and row["shape"] == [1, 2, 2]
    assert row["values"][1] is None and math.isinf(row["values"][2]) and row["values"][3] == -2.5e-3


def conv(name: str, kind: str, count: int = 9408) -> dict[str, object]:
    """A layer as the inspector of 8.5 to 10.x shows it."""
    return {
        "Name": name, "LayerType": "CaskConvolution", "ParameterType": "Convolution",
        "Inputs": [{"Name": "images", "Format/Datatype": "Row major linear FP32"}],
        "Weights": {"Type": kind, "Count": count}, "Bias": {"Type": kind, "Count": 64},
        "Metadata": "[ONNX Layer: /backbone/conv1/Conv]\u001e[ONNX Layer: /backbone/relu/Relu]",
    }  # fmt: skip


def test_precision_is_that_of_the_weights() -> None:
    layers = precisions.read([conv("a", "Half"), conv("b", "Int8"), conv("c", "Float")])
    assert [layer.precision for layer in layers] == ["fp16", "int8", "fp32"]
    assert layers[0].nodes == ("/backbone/conv1/Conv", "/backbone/relu/Relu")
    assert precisions.count(layers) == {"fp16": 1, "fp32": 1, "int8": 1}


def test_layers_of_older_and_newer_inspectors() -> None:
    old = {"Name": "Conv_0 + Relu_1", "LayerType": "Reformat",
           "Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}]}  # fmt: skip
    new = {"Name": "x", "LayerType": "gemm", "Inputs": [{"Name": "i", "Format": "Linear", "Datatype": "Half"}]}
    found = precisions.read([old, new, "only a name"])
    assert [(f.precision, f.multiplies) for f in found] == [("int8", False), ("fp16", True), ("", False)]
    assert found[0].nodes == ("Conv_0", "Relu_1")


def test_an_engine_in_fp32_is_no_fp16_engine() -> None:
    rows = [conv("a", "Float"), conv("b", "Float"), conv("c", "Half", 100)]
    with pytest.raises(Fault, match=r"2 of 3 .* a \(fp32\), b \(fp32\)"):
        precisions.require(precisions.read(rows), "fp16", 0)
    # a small layer that TensorRT keeps in FP32 because it is faster there is none of our business
    assert precisions.require(precisions.read([conv("a", "Half"), conv("b", "Float", 100)]), "fp16", 0) == []
    assert precisions.require(precisions.read([conv("a", "Float")]), "fp32", 0) == []
    with pytest.raises(Fault):
        precisions.require(precisions.read([conv("a", "Float"), conv("b", "Half", 1)]), "fp32", 0)


def test_int8_where_it_was_quantised() -> None:
    rows = [conv(str(i), "Int8") for i in range(5)] + [conv(str(i), "Half") for i in range(20)]
    assert precisions.require(precisions.read(rows), "int8", 8) == []
    for quantised, layers in ((11, rows), (0, rows[5:])):
        with pytest.raises(Fault, match="int8 was asked"):
            precisions.require(precisions.read(layers), "int8", quantised)


def test_what_cannot_be_told_is_said() -> None:
    with pytest.raises(Fault, match="does not say"):
        precisions.require(precisions.read(["conv_1", "conv_2"]), "fp16", 0)
    fused = {"Name": "{ForeignNode[a...b]}", "LayerType": "Myelin", "Inputs": [{"Format/Datatype": "Half"}]}
    assert "Myelin" in precisions.require(precisions.read([fused]), "fp16", 0)[0]
    assert precisions.require(precisions.read([{"Name": "s", "LayerType": "Shuffle"}]), "fp16", 0) == []
