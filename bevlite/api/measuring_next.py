"""Which modules to measure next on one's own board."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bevlite.errors import BevliteError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Suggestion:
    """One module to measure.

    Attributes:
        network: what it is a module of.
        module: its name.
        uncertain: how far the predictions of all candidates are off on average once it is measured, and those before
            it in the list (one standard deviation, as a share).
    """

    network: str
    module: str
    uncertain: float


def measure_next(
    networks: Sequence[PathLike],
    *,
    device: str = "agx-orin-64gb",
    count: int = 10,
    reports: Sequence[PathLike] = (),
    graphs: Sequence[PathLike] = (),
    precision: str = "",
    tensorrt: str = "10.3",
) -> list[Suggestion]:
    """The modules whose measurement tells most of all the others, the most telling first.

    Args:
        networks: variants, run folders or ONNX files: what matters, and what can be measured.
        device: a name in configs/devices, or a YAML file.
        count: how many, 1 to 1000.
        reports: what was measured before, as `calibrate_latency` takes it.
        graphs: where the measured modules of a report lie, if not beside it.
        precision: fp32, fp16 or int8; empty for each variant's own.
        tensorrt: the version on the board.

    Raises:
        BevliteError: a file that cannot be read, or a count out of range.
    """
    if not 1 <= count <= 1000:
        raise BevliteError(f"--count: found {count}; accepted: 1 to 1000")
    from bevlite.devices.calibration import read_evidence
    from bevlite.devices.contract import precision_of
    from bevlite.export.sources import open_network
    from bevlite.latency.calibration.choice import most_telling, shares, spread
    from bevlite.latency.device import find_device
    from bevlite.latency.gpu.backend import tensorrt_backend
    from bevlite.latency.gpu.ceilings import ceilings
    from bevlite.latency.onnx.graph import read_graph
    from bevlite.latency.predictor import check_precision
    from bevlite.tensorrt import parse_version

    board = find_device(device)
    backend = tensorrt_backend(parse_version(tensorrt))
    known = read_evidence([Path(r) for r in reports], board, [Path(g) for g in graphs]) if reports else None
    kernels = [list(m.kernels) for m in known.measurements] if known is not None else []
    names: list[tuple[str, str]] = []
    for network in networks:
        request = open_network(Path(network), tensorrt, precision, [], {})
        for name, model in request.modules.items():
            graph = read_graph(model)
            wanted = check_precision(precision_of(request.precision, name))
            kernels.append(backend.features(graph, backend.fuse(graph), wanted))
            names.append((str(network), name))
    before = list(range(len(kernels) - len(names)))
    share = shares(kernels, ceilings(board))
    found = most_telling(share, count, before)
    left = [float(spread(share, [*before, *found[: place + 1]])[len(before) :].mean()) for place in range(len(found))]
    return [Suggestion(*names[i - len(before)], uncertain) for i, uncertain in zip(found, left, strict=True)]
