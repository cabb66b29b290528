"""Where the time of a training step goes, beside the forward and backward of its timm backbone on the same images.

    python benchmarks/training_step.py ROOT [VARIANT ...] [--batch 4] [--repeats 20]

ROOT is a data root in nuScenes format (`bevlite data synth ROOT` makes one); a batch of it is loaded once, so that no
loader counts. Everything runs in bf16 on one GPU, channels last, as `bevlite train` does (without a GPU on the CPU, to
try the script). Times are medians, each until the GPU is done. A row a piece: the piece alone, forward and backward, on
what the pieces before it gave; `whole step` is forward, losses, backward, clipping, AdamW and the moving average.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.data.config import load_data_config
from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD
from bevlite.models.streams import parted
from bevlite.training.loop import training_set
from bevlite.training.module import TrainingModule
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant, load_variant

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
REFERENCE = Path(__file__).resolve().parents[1] / "configs" / "variants" / "reference-r50.yaml"


def main() -> None:
    """Every variant, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("variants", nargs="*", type=Path, default=[REFERENCE])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--operators", type=int, default=0, help="also list that many operators of the whole step")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, batch {options.batch}, bf16; ms, medians of {options.repeats}\n")
    for file in options.variants:
        variant = load_variant(file)
        try:
            measured(variant, options.root, options.batch, options.repeats, options.operators)
        except (RuntimeError, ValueError) as error:  # out of memory, say: the others go on
            print(f"{variant.name}: {str(error).splitlines()[0]}\n", flush=True)
        torch.cuda.empty_cache()


def measured(variant: Variant, root: Path, batch_size: int, repeats: int, operators: int) -> None:
    """One table, and the operators that take most of the whole step, if any are asked for."""
    recipe = Recipe()
    dataset = training_set(variant, load_data_config(root), recipe)
    batch = dataset.collate(
        [dataset[(0, i)] if not dataset.has_past else dataset[(0, i, True)] for i in range(batch_size)]
    )
    batch = {k: v.to(DEVICE) if isinstance(v, Tensor) else v for k, v in batch.items()}
    module = TrainingModule(variant, recipe, total_steps=1000).to(DEVICE).train()
    network = module.network.to(memory_format=torch.channels_last)
    optimizer = module.configure_optimizers()["optimizer"]
    if network.states:
        batch |= module.memory.inputs(batch["first"], DEVICE)
    rows: list[tuple[str, float]] = []

    def timed(name: str, run: Callable[[], Any]) -> None:
        rows.append((name, milliseconds(run, repeats)))

    maps: list[Tensor] = []
    if network.camera is not None and variant.camera is not None:
        timed("timm backbone alone, forward and backward", backbone_alone(variant, batch["images"]))
        timed("camera (backbone, neck)", piece(network.camera, lambda: network.camera(batch["images"])))
        with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
            features = network.camera(batch["images"])
        features = features.detach().requires_grad_()
        timed("view transform", piece(network.view_transform, lambda: network.view_transform(features, batch)))
        with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
            maps.append(parted(network.view_transform(features, batch))[0])
    if network.lidar is not None:
        timed("LiDAR", piece(network.lidar, lambda: network.lidar(batch)))
        with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
            maps.append(parted(network.lidar(batch))[0])
    maps = [one.detach().requires_grad_() for one in maps]

    def heads() -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            outputs = dict(parted(network.fusion_heads(maps, batch))[1])
        terms = [t for task in network.tasks for t in task.losses(outputs, batch, module.weights).values()]
        return torch.stack(terms).sum()

    timed("fusion, BEV encoder, heads and their losses", piece(network.fusion_heads, heads))

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16):
            outputs = network(batch)
            terms = module.losses(outputs, batch)
            loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        module.average.update(network)

    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    timed("whole step", step)
    named = dict(rows)
    alone = named.get("timm backbone alone, forward and backward")
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
    print(f"{variant.name}: peak {peak:.1f} GiB\n\n| piece | ms | of the backbone's |")
    print("| --- | --- | --- |")
    for name, ms in rows:
        print(f"| {name} | {ms:.2f} | {f'{ms / alone:.2f}' if alone else '-'} |")
    print(flush=True)
    if operators and DEVICE == "cuda":
        print_operators(step, operators)


def print_operators(step: Callable[[], Any], count: int) -> None:
    """The operators of a step with the shapes that they take, by the time of their kernels."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as profiler:
        step()
        torch.cuda.synchronize()
    found = sorted(profiler.key_averages(group_by_input_shape=True), key=lambda e: -e.self_device_time_total)
    print("| operator | calls | ms | shapes |\n| --- | --- | --- | --- |")
    for event in found[:count]:
        shapes = " ".join("x".join(map(str, shape)) for shape in event.input_shapes[:3] if shape)
        print(f"| {event.key[:60]} | {event.count} | {event.self_device_time_total / 1e3:.2f} | {shapes} |")
    print(flush=True)


def piece(part: nn.Module | None, forward: Callable[[], Any]) -> Callable[[], None]:
    """Forward of a part and backward from the sum of what it gives."""
    assert part is not None

    def run() -> None:
        with torch.autocast(DEVICE, torch.bfloat16):
            found = forward()
        found = parted(found)[0] if not isinstance(found, Tensor) else found
        found.backward(torch.ones_like(found))
        part.zero_grad(set_to_none=True)

    return run


def backbone_alone(variant: Variant, images: Tensor) -> Callable[[], None]:
    """Forward and backward of what timm has for the backbone of a variant, on the same images, normalised before."""
    import timm

    assert variant.camera is not None
    config = variant.camera.backbone
    if config.type == "resnet":
        network = timm.create_model(
            f"resnet{config.depth}", features_only=True, pretrained=False, out_indices=(1, 2, 3, 4)
        )
    else:  # timm has no such network, or not as a list of maps: ours alone
        network = config.build()
    network = network.to(DEVICE).train().to(memory_format=torch.channels_last)
    flat = images.flatten(0, 1).float()
    mean, std = (torch.tensor(v, device=DEVICE).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    flat = ((flat - mean) / std).to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.autocast(DEVICE, torch.bfloat16):
            maps = network(flat)
        torch.autograd.backward(list(maps), [torch.ones_like(one) for one in maps])
        network.zero_grad(set_to_none=True)

    return run


def milliseconds(run: Callable[[], Any], repeats: int) -> float:
    """Median time of a call in ms, after five that do not count."""
    for _ in range(5):
        run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    main()
