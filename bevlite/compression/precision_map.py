"""What each layer of a network computes in, why, and what it costs there: the rows of a precision map."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bevlite.compression.costs import Predictions
from bevlite.devices.predicted import PredictedDevice
from bevlite.models.quantization.placement import placement
from bevlite.variant import Variant

MEASURED = "loses too much for the time that it saves (measured)"
ASKED = "as the plan asks"


@dataclass(frozen=True)
class LayerPrecision:
    """A layer that multiplies by its weights.

    path: in the network; module: the engine that it stands in. word: `int8`, `fp16` or `fp32`. ms: predicted, of the
    kernels that bear its name; 0 where it runs inside that of another layer, or while building. why: it is not in INT8;
    empty where it is.
    """

    path: str
    module: str
    word: str
    ms: float
    why: str


def precision_map(
    variant: Variant, floats: Mapping[str, str], board: PredictedDevice, measured: Collection[str] = ()
) -> list[LayerPrecision]:
    """The layers of a network in the order of execution.

    Args:
        variant: with a plan for every layer (`in_int8`).
        floats: why layers stay in FP16, by path.
        board: whose predicted milliseconds count.
        measured: those that went back by their measured loss: one reason for all.

    Raises:
        BevliteError: a plan that cannot be predicted.
    """
    ms = Predictions(board).milliseconds(variant)
    rows = []
    for path, product in placement(variant).products.items():
        word = variant.compression.precision_of(path)
        why = MEASURED if path in measured else floats.get(path, ASKED)
        rows.append(
            LayerPrecision(path, product.module, word, ms.get(path, 0.0), "" if word == "int8" else why)
        )  # fmt: skip
    return rows
