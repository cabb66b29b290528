"""The steps around a variant's engines as kernels: what they move and how often they launch, from shapes alone."""

from __future__ import annotations

from typing import NamedTuple

from bevlite.agent.kernels.plan import Plan
from bevlite.kernels.images import ImageForm, image_step
from bevlite.kernels.step import Floats, Step
from bevlite.latency.device import DeviceConfig
from bevlite.latency.pipeline import AFTER, PipelineStep, of_kernels
from bevlite.models.streams import build_view_transform
from bevlite.variant import CameraStream, Variant

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


def kernel_steps(
    variant: Variant,
    source: tuple[int, int] = NUSCENES_IMAGE,
    form: ImageForm = "rgb",
    floats: Floats = "float32",
) -> KernelSteps:
    """The kernels around the engines of a variant.

    Args:
        variant: the network.
        source: (height, width) px of the cameras.
        form: how the cameras give their images.
        floats: what the engines take and give.

    Raises:
        ValueError: sizes that a kernel does not take.
    """
    steps = KernelSteps({}, {}, {})
    if variant.camera is not None:
        images = variant.camera.images
        size = (images.height, images.width)
        taken = image_step(source, size, images.cameras, form)
        steps.frame["image_preprocessing"] = taken.plan
        _add_tables(steps, variant.camera, variant, floats)
    if variant.lidar is not None:
        host = variant.lidar.pillars.build(variant.bev).host
        found = host.board_steps(POINTS_A_SWEEP * variant.lidar.sweeps, variant.lidar.sweeps, floats)
        _add(steps, "pillarisation", next(iter(found), None), "its pillar encoder has no kernels")
    for task in variant.heads.tasks(variant.bev):
        name = AFTER[task.steps[0]]().name if task.steps else task.name
        _add(steps, name, task.board_step(floats), "its form of head has no kernels")
    return steps


def _add_tables(steps: KernelSteps, camera: CameraStream, variant: Variant, floats: Floats) -> None:
    """What the view transform takes: its tables of every frame where it corrects the car's motion."""
    config, neck = camera.view_transform, camera.neck
    host = build_view_transform(config, neck.channels, neck.out_stride, camera.images, variant.bev).host
    sweeps = variant.lidar.sweeps if variant.lidar is not None else 1
    sources = {spec.source for spec in host.inputs}
    for step in host.board_steps(POINTS_A_SWEEP * sweeps, sweeps, floats):
        of_points = "points" in step.plan.buffers
        sources.discard("points" if of_points else "calibration")
        (steps.frame if of_points or config.ego_motion else steps.calibration)[step.plan.name] = step.plan
    for source in sorted(sources & {"points", "calibration"}):
        steps.missing[f"view transform, {source}"] = f"{config.type} has no kernels for it"


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
