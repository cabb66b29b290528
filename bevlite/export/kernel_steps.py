"""The steps around a variant's engines as kernels: what they move and how often they launch, from shapes alone."""

from __future__ import annotations

from typing import NamedTuple

from bevlite.agent.kernels.plan import Plan
from bevlite.kernels.images import image_step
from bevlite.kernels.step import Step
from bevlite.latency.device import DeviceConfig
from bevlite.latency.pipeline import AFTER, PipelineStep, of_kernels
from bevlite.models.streams import build_view_transform
from bevlite.variant import Variant

NUSCENES_IMAGE = (900, 1600)
"""Height and width in px of the cameras' images."""
POINTS_A_SWEEP = 28_000
"""Of nuScenes' LiDAR, those on the car itself left out."""


class KernelSteps(NamedTuple):
    """Plans by the name of their step: those of every frame, and those of a new calibration.

    missing: steps that have no kernels, by name, with the reason.
    """

    frame: dict[str, Plan]
    calibration: dict[str, Plan]
    missing: dict[str, str]


def kernel_steps(variant: Variant, source: tuple[int, int] = NUSCENES_IMAGE, form: str = "rgb") -> KernelSteps:
    """The kernels around the engines of a variant.

    Args:
        variant: the network.
        source: (height, width) px of the cameras.
        form: `rgb` or `nv12`, how the cameras give their images.

    Raises:
        ValueError: sizes that a kernel does not take.
    """
    steps = KernelSteps({}, {}, {})
    if variant.camera is not None:
        images = variant.camera.images
        size = (images.height, images.width)
        taken = image_step(source, size, images.cameras, "nv12" if form == "nv12" else "rgb")
        steps.frame["image_preprocessing"] = taken.plan
        _add_tables(steps, variant)
    if variant.lidar is not None:
        host = variant.lidar.pillars.build(variant.bev).host
        pillars = host.board_step(POINTS_A_SWEEP * variant.lidar.sweeps, variant.lidar.sweeps)
        _add(steps, "pillarisation", pillars, "its pillar encoder has no kernels")
    for task in variant.heads.tasks(variant.bev):
        name = AFTER[task.steps[0]]().name if task.steps else task.name
        _add(steps, name, task.board_step(), "its form of head has no kernels")
    return steps


def _add_tables(steps: KernelSteps, variant: Variant) -> None:
    """Tables of the view transform: of every frame where it corrects the car's motion."""
    camera = variant.camera
    assert camera is not None
    neck = camera.neck
    transform = build_view_transform(camera.view_transform, neck.channels, neck.out_stride, camera.images, variant.bev)
    specs = [spec for spec in transform.host.inputs if spec.source not in ("state", "ego motion")]
    if not specs:
        return
    step = transform.host.board_step()
    if step is None or any(spec.source == "points" for spec in specs):
        steps.missing["tables"] = f"{camera.view_transform.type} has tables without kernels"
    if step is not None:
        (steps.frame if camera.view_transform.ego_motion else steps.calibration)["tables"] = step.plan


def _add(steps: KernelSteps, name: str, step: Step | None, why: str) -> None:
    if step is None:
        steps.missing[name] = why
    else:
        steps.frame[name] = step.plan


def predicted_steps(steps: KernelSteps, device: DeviceConfig) -> list[PipelineStep]:
    """What the steps of a frame are predicted to take on a board, by their launches and bytes.

    Not the default of a prediction (`bevlite.export.of_variant.steps_of`, published figures) until the kernels have run
    on a board.
    """
    gb_per_s, launch_us = device.dram_copy_gb_per_s.value, device.launch_graph_us.value
    return [
        of_kernels(
            name,
            launches=plan.launches,
            narrow=plan.narrow,
            traffic_bytes=plan.traffic,
            gb_per_s=gb_per_s,
            launch_us=launch_us,
        )
        for name, plan in steps.frame.items()
    ]
