"""`bevlite latency --dla`: what one DLA core of the board would do with a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bevlite.devices.predicted import PredictedDevice
    from bevlite.export.request import Request


def show_on_dla(network: Request, board: PredictedDevice, precision: str, console: Console) -> None:
    """Predict every module on one DLA core and on the GPU alone, and print both; INT8 unless `precision` says else.

    Raises:
        BevliteError: the board has no DLA, its TensorRT version does not drive it, or the precision is none of its.
    """
    from bevlite.latency.dla.prediction import predict_dla
    from bevlite.latency.dla.timing import require_dla
    from bevlite.latency.onnx.graph import read_graph
    from bevlite.latency.predictor import check_precision, predict_onnx
    from bevlite.reporting.latency_dla import show_dla
    from bevlite.tensorrt import parse_version

    chosen = check_precision(precision or "int8")
    require_dla(board.config, parse_version(board.tensorrt), chosen)
    on_dla = {
        name: predict_dla(
            read_graph(model),
            board.config,
            chosen,
            board.tensorrt,
            power_mode=board.power_mode,
            coefficients=board.coefficients,
        )
        for name, model in network.modules.items()
    }
    on_gpu = {
        name: predict_onnx(
            model,
            board.config,
            chosen,
            board.tensorrt,
            power_mode=board.power_mode,
            cuda_graph=board.cuda_graph,
            coefficients=board.coefficients,
        )
        for name, model in network.modules.items()
    }
    show_dla(on_dla, on_gpu, console)
