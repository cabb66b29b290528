"""A variant as a request: graphs made from shapes alone, for whoever predicts."""

from __future__ import annotations

from bevlite.export.graph.emit import require_buildable
from bevlite.export.graph.graphs import GraphStore, module_graphs
from bevlite.export.request import Request
from bevlite.latency.pipeline import PipelineStep, steps_for
from bevlite.models.quantization.plan import in_int8, is_resolved
from bevlite.tensorrt import Precision, form_for
from bevlite.variant import Variant


def steps_of(variant: Variant) -> tuple[PipelineStep, ...]:
    """The steps outside the engines that this network needs."""
    return tuple(
        steps_for(
            cameras=variant.camera.images.cameras if variant.camera is not None else 0,
            sweeps=variant.lidar.sweeps if variant.lidar is not None else 0,
            after=[step for task in variant.heads.tasks(variant.bev) for step in task.steps],
        )
    )


def request_of_variant(
    variant: Variant, tensorrt: str, precision: str = "", store: GraphStore | None = None
) -> Request:
    """The graphs of a variant, made from shapes alone, in the form that a TensorRT version takes.

    Args:
        variant: the network.
        tensorrt: the version.
        precision: of all engines; empty for the variant's own plan.
        store: where graphs are kept.

    Raises:
        BevliteError: the variant cannot be exported, or an unknown version.
    """
    if not precision:  # one word for all can be predicted before it can be exported
        if "int8" in variant.compression.precision.values() and not is_resolved(variant):
            variant = in_int8(variant, {})  # as it will be quantized
        require_buildable(variant, form_for(tensorrt, variant.precision))
    variant = variant.with_precision(precision)
    chosen: Precision = variant.precision
    form, graphs = form_for(tensorrt, chosen), store or GraphStore()
    modules = {module.name: graphs(module, form) for module in module_graphs(variant)}
    return Request(modules, form, chosen, steps_of(variant))
