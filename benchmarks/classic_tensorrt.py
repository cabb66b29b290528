"""What a classic TensorRT (8.5 to 10.x on Ampere) does with the quantized graphs, and why one believes so.

Nothing of this was run: no full TensorRT was within reach. `documented`: NVIDIA's documents or sources; `reported`: a
log or an engineer of NVIDIA in a public thread; `inferred`: follows from those. TensorRT#N is issue N of
github.com/NVIDIA/TensorRT. Public sources were read in November 2026.
"""

from __future__ import annotations

from typing import NamedTuple


class Classic(NamedTuple):
    """What it does, by which source, and how sure that is."""

    does: str
    source: str
    confidence: str


GUIDE = "TensorRT developer guide, explicit quantization"
PLACEMENT = "pytorch-quantization, quant_resnet50 (further optimization)"

CLASSIC = {
    "chain": Classic("both INT8; Conv + ReLU + the next Q are one kernel", f"TensorRT#2383; {GUIDE}", "documented"),
    "chain-per-tensor": Classic("as per channel: the multipliers repeat", "NvInfer.h, IQuantizeLayer", "documented"),
    "chain-fp16": Classic(
        "10.x strongly typed: INT8, what is between in FP16, as the scale type says; 8.x reads FP16 scales as FP32",
        "NvInfer.h 10.3, IDequantizeLayer", "documented"),
    "residual-skip": Classic("Conv + Add + ReLU + Q are one INT8 kernel: the right place", PLACEMENT, "documented"),
    "residual-none": Classic(
        "convolutions in INT8, the addition and its output in float, the Q behind it a kernel of its own",
        f"{PLACEMENT}; TensorRT#1992", "documented"),
    "residual-both": Classic("Conv + Q in INT8; the addition a separate INT8 kernel", f"{GUIDE}; TensorRT#3542",
                             "documented"),
    "residual-branch": Classic("the addition in float with one DQ input: the worst of the four", PLACEMENT, "inferred"),
    "concat-one-scale": Classic(
        "no kernel: producers write INT8 into slices of one buffer",
        "yolo_deepstream, yolov7_qat guidance, section 5", "documented"),
    "concat-two-scales": Classic(
        "a requantisation pass for each operand with another scale (YOLOv7 on Orin-X: 180 against 207 images/s)",
        "yolo_deepstream, yolov7_qat guidance", "documented"),
    "depthwise": Classic(
        "INT8 kernels exist for it with ReLU; Q/DQ binds, there is no way back to FP16; hardly faster than FP16",
        "TensorRT#3385 (Orin, 8.5.2), #1556", "reported"),
    "depthwise-silu": Classic(
        "8.5.2 finds no implementation and fails; later INT8 and a float kernel for SiLU",
        "TensorRT#3385, #3205", "reported"),
    "grouped": Classic("INT8: channels a group are a multiple of 4; often slower than FP16",
                       "NvInfer.h, setNbGroups; TensorRT#4529", "documented"),
    "transposed": Classic(
        "INT8 in 2-D (the Q behind it does not always fuse; fold a batch norm before; weight scales on axis 0 up to "
        "9.1, 1 from 9.3)", "TensorRT#2597, #1699, #3412; pytorch-quantization", "reported"),
    "max-pool": Classic("in INT8, with equal scales nothing is left of Q/DQ", GUIDE, "documented"),
    "average-pool": Classic("in INT8: DQ, pooling and Q are one layer", GUIDE, "documented"),
    "global-pool": Classic("imported as a reduction, which computes in float: Q/DQ stay as kernels",
                           "onnx-tensorrt 8.5, GlobalAveragePool; NvInfer.h, IReduceLayer", "documented"),
    "squeeze-excite": Classic("the small convolutions in INT8 with a Q pass each: more overhead than gain",
                              "modelopt, partitioning (exceptions made from measurements)", "inferred"),
    "squeeze-excite-gate": Classic("the gate's multiplication a pointwise kernel of its own",
                                   "modelopt, _is_fusible_mul", "inferred"),
    "attention": Classic(
        "INT8 attention as one kernel for head sizes 16, 32, 64 and up to 512 tokens; on Orin 8.6 it was not seen; "
        "else INT8 products and FP32 softmax apart", "TensorRT#2981, #3243, #3575", "reported"),
    "attention-linear": Classic("linear layers in INT8, attention in FP16: what NVIDIA recommends",
                                "modelopt, graph_utils; DL4AGX BEVFormer", "documented"),
    "heads": Classic("in INT8 with padded channels, and a reformat at the output", "TensorRT#2592, #1310", "reported"),
    "no-weight": Classic("in float; the Q and DQ of the input stay as kernels", f"{GUIDE} (all inputs)", "inferred"),
    "no-weight-linear": Classic("in float; the Q and DQ stay as kernels", f"{GUIDE} (all inputs); TensorRT#4322",
                                "inferred"),
    "no-input": Classic("in float, the weights dequantised at build time", GUIDE, "inferred"),
    "fork": Classic("the producer writes float, its Q is a pass of its own", "TensorRT#2627", "reported"),
    "shared-scale": Classic("one Q for both readers", f"{GUIDE}; CUDA-BEVFusion qat", "documented"),
    "stem": Classic("in INT8 with 3 channels padded to 4; the Q of the image is a pass", "TensorRT#1293, #3914",
                    "reported"),
    "resize": Classic("from 8.4 on the Q moves up over it", "TensorRT#1310, #2976", "reported"),
    "silu": Classic("Conv + SiLU + Q are one INT8 kernel where a tactic is found, else INT8 and a float kernel",
                    "TensorRT#3385, #3205, #3542", "reported"),
    "output": Classic("Q fuses, the last DQ is one pass for nothing", "TensorRT#2383", "reported"),
    "relu-behind": Classic(
        "DQ moves behind ReLU: it commutes with a positive scale, so the convolution gets INT8",
        f"{GUIDE}, commuting layers", "inferred"),
    "pixel-shuffle": Classic("DQ moves behind it: it is imported as shuffles, which commute", GUIDE, "inferred"),
    "grid-sample": Classic("in float between DQ and Q", "operator documents, GridSample (FP32, FP16)", "documented"),
}  # fmt: skip
"""By the name of the graph (benchmarks/quantized_graphs.py)."""
