"""A request predicted for a board: latency, what speaks against its operators, what INT8 does, NVIDIA's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bevlite.export.check.operators import OperatorFinding, check_model
from bevlite.export.check.witness import Witness, notes, witnesses
from bevlite.export.request import Request
from bevlite.latency.gpu.fusion import fuse, tensorrt_rules
from bevlite.latency.gpu.quantization import Int8Findings, findings, scales_of
from bevlite.latency.onnx.graph import load_model, read_graph
from bevlite.tensorrt import module_precision, parse_version, typed_by, version_key

if TYPE_CHECKING:
    from bevlite.devices.predicted import PredictedDevice
    from bevlite.devices.report.latency import LatencyReport


@dataclass(frozen=True)
class Predicted:
    """What is known of a request before any board has seen it.

    Attributes:
        request: what was asked.
        report: its latency.
        findings: by module, what speaks against it on the versions that it is meant for and on the chosen one.
        int8: by module that has INT8, what it does there.
        witnesses: by module, what NVIDIA's compiler says of it; empty where it was not asked.
    """

    request: Request
    report: LatencyReport
    findings: Mapping[str, list[OperatorFinding]]
    int8: Mapping[str, Int8Findings]
    witnesses: Mapping[str, Witness] = field(default_factory=dict)

    @property
    def without_witnesses(self) -> LatencyReport:
        """The report without NVIDIA's word among its notes, for whoever shows that apart."""
        apart = notes(self.witnesses.values())
        return self.report.model_copy(update={"notes": tuple(n for n in self.report.notes if n not in apart)})


def predict_request(request: Request, board: PredictedDevice, *, check: bool = False) -> Predicted:
    """Predict all of it (raises BevliteError, as `PredictedDevice.measure`).

    Args:
        request: what is asked.
        board: for which board.
        check: ask NVIDIA's compiler too; its word is among the notes of the report.
    """
    report = latency_of(request, board)
    found = witnesses(request.modules, tensorrt=board.tensorrt, origins=request.origins) if check else {}
    report = report.model_copy(update={"notes": (*report.notes, *notes(found.values()))})
    return Predicted(request, report, operator_findings(request, board), _int8(request, board), found)


def latency_of(request: Request, board: PredictedDevice) -> LatencyReport:
    """The latency alone (raises BevliteError)."""
    report = board.measure(request.modules, request.steps, request.precision)
    return report.model_copy(update={"notes": request.notes + report.notes})


def operator_findings(request: Request, board: PredictedDevice) -> dict[str, list[OperatorFinding]]:
    """What speaks against each module, for the versions that were asked for and that of the board.

    Raises:
        BevliteError: a module that is no ONNX model.
    """
    versions = tuple(dict.fromkeys((*request.versions, version_key(board.tensorrt))))
    emission = request.form.emission if request.form else None
    return {
        name: check_model(model, versions, typed_by(emission, request.precision, name))
        for name, model in request.modules.items()
    }


def _int8(request: Request, board: PredictedDevice) -> dict[str, Int8Findings]:
    """Of modules where INT8 is asked for, or Q/DQ nodes say so."""
    found = {}
    for name, module in request.modules.items():
        model, _ = load_model(module)
        asked = module_precision(request.precision, name) == "int8"
        if asked or any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            graph = read_graph(model)
            fused = fuse(graph, tensorrt_rules(parse_version(board.tensorrt)))
            found[name] = findings(graph, fused, scales_of(model))
    return found
