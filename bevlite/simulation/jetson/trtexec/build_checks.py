"""What stops a build, or makes the builder speak: names, shapes, types, calibration, memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import Graph, is_static
from bevlite.simulation.jetson.trtexec.log import Failure, Log
from bevlite.simulation.jetson.trtexec.options import Options
from bevlite.simulation.jetson.trtexec.precision import calibrated_tensors

SET_UP = ("Failed to create engine from model or file.", "Engine set up failed")
NO_ENGINE = ("Engine could not be created from network", "Building engine failed", *SET_UP)


def load_model(path: Path) -> onnx.ModelProto:
    """The ONNX file.

    Raises:
        Failure: it is missing or is none.
    """
    if not path.is_file():
        raise Failure(f"Could not open file {path}", "Parsing model failed", *SET_UP)
    try:
        return onnx.load(str(path))
    except Exception:  # protobuf's own errors have no common base
        raise Failure(f"Failed to parse onnx file {path}", "Parsing model failed", *SET_UP) from None


def check_names(log: Log, options: Options, model: onnx.ModelProto) -> None:
    """Shapes and input files must name inputs of the network; dynamic dimensions without a shape become 1.

    Raises:
        Failure: they do not, or a static model is given shapes.
    """
    known = {i.name for i in model.graph.input}
    for name in [*options.shapes, *options.load_inputs]:
        if name not in known:
            raise Failure(
                f'Cannot find input tensor with name "{name}" in the network inputs! '
                "Please make sure the input tensor names are correct.",
                *SET_UP,
            )
    if options.shapes and all(is_static(i) for i in model.graph.input):
        raise Failure(
            "Static model does not take explicit shapes since the shape of inference tensors will be determined by "
            "the model itself",
            *SET_UP,
        )
    for info in model.graph.input:
        if not is_static(info) and info.name not in options.shapes:
            dims = "x".join(str(d.dim_value or 1) for d in info.type.tensor_type.shape.dim)
            log.warn(
                f"Dynamic dimensions required for input: {info.name}, but no shapes were provided. "
                f"Automatically overriding shape to: {dims}"
            )


def check_types(log: Log, graph: Graph, options: Options, release: Release) -> None:
    """Precision flags against the network, and the types of the network against the hardware.

    Raises:
        Failure: a network with Q/DQ on weak typing without --int8, with FP8, which no Orin has, or with an attention in
            FP32, which has no kernel.
    """
    if any(tensor.dtype.startswith(("FLOAT8", "FLOAT4")) for tensor in graph.tensors.values()):
        text = "[TRT] Error Code 9: API Usage Error (Networks with FP8 Q/DQ layers require hardware with FP8 support.)"
        raise Failure(text, *NO_ENGINE)
    if any(n.op == "Attention" and graph.tensors[n.inputs[0]].dtype == "FLOAT" for n in graph.nodes):
        text = "[TRT] Error Code 1: Myelin (Attention operation was not supported by a dedicated kernel.)"
        raise Failure(text, *NO_ENGINE)
    if options.strongly_typed:
        if options.fp16 or options.int8:
            log.warn("[TRT] Precision flags are ignored for a strongly typed network.")
        return
    if release.number >= 101200:
        log.warn(
            "[TRT] Weakly typed networks are deprecated. Use a strongly typed network; "
            "ModelOpt's AutoCast converts a model."
        )
    if graph.has_quantizers and not options.int8:
        text = "[TRT] Error Code 4: Internal Error (Network has INT8 Q/DQ layers but INT8 precision is not set)"
        raise Failure(text, *NO_ENGINE)
    if options.int8 and not options.fp16:
        log.info(
            "FP32 and INT8 precisions have been specified - more performance might be enabled by additionally "
            "specifying --fp16 or --best"
        )
    if options.calibration is not None and graph.has_quantizers:
        log.warn("[TRT] Calibrator won't be used in explicit precision mode. Use quantization aware training instead.")


def calibration(options: Options, graph: Graph) -> set[str] | None:
    """The tensors of the calibration cache that counts; None without one.

    Raises:
        Failure: the cache is missing.
    """
    if options.calibration is None or graph.has_quantizers:
        return None
    if not options.calibration.is_file():
        raise Failure("[TRT] Can not open provided calibration cache file", *SET_UP)
    return calibrated_tensors(options.calibration)


def check_memory(log: Log, board: BoardFolder, options: Options, layers: Sequence[Layer], names: list[str]) -> None:
    """Tactic search without enough memory: the fault, or a workspace that holds nothing.

    Raises:
        Failure: with the text that disguises it.
    """
    starved = options.workspace_mib is not None and options.workspace_mib < 1
    if not starved and board.faults.take("out_of_memory") is None:
        return
    log.warn(
        f"[TRT] Tactic Device request: 4229MB Available: {1 if starved else 2658}MB. "
        "Device memory is insufficient to use tactic.",
        "[TRT] Skipping tactic 13 due to insufficient memory on requested size of 4434714624 detected for tactic "
        "0x000000000000000d.",
    )
    heavy = next((n for n, k in zip(names, layers, strict=True) if k.kind == "convolution"), names[0])
    raise Failure(
        f"[TRT] Error Code 10: Internal Error (Could not find any implementation for node {heavy}.)",
        "[TRT] Error Code 2: Internal Error (Assertion engine != nullptr failed. )",
        *NO_ENGINE,
    )
