"""A request on one DLA core of a board, beside the same on its GPU alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bevlite.export.request import Request
from bevlite.latency.dla.prediction import DlaPrediction, predict_dla
from bevlite.latency.dla.timing import require_dla
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import GraphPrediction, check_precision
from bevlite.tensorrt import parse_version

if TYPE_CHECKING:
    from bevlite.devices.predicted import PredictedDevice


@dataclass(frozen=True)
class OnDla:
    """Every module by name: on the DLA with what falls back, and on the GPU alone."""

    dla: Mapping[str, DlaPrediction]
    gpu: Mapping[str, GraphPrediction]


def predict_on_dla(request: Request, board: PredictedDevice, precision: str = "") -> OnDla:
    """Predict every module on one DLA core and on the GPU alone; INT8 unless `precision` says else.

    Raises:
        BevliteError: the board has no DLA, its TensorRT version does not drive it, or the precision is none of its.
    """
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
        for name, model in request.modules.items()
    }
    on_gpu = {name: board.predict(model, chosen) for name, model in request.modules.items()}
    return OnDla(on_dla, on_gpu)
