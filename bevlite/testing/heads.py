"""Contract tests of heads and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import HeadConfig
from bevlite.runtime.query_sets import paired
from bevlite.tasks.contract import TASKS, Task
from bevlite.tasks.detection import HEATMAP
from bevlite.tasks.occupancy import OCCUPANCY
from bevlite.testing.expect import BEV, expect, expect_close, expect_equal, expect_learns

IN_CHANNELS = 5


def check_head(config: HeadConfig, bev: BEVGrid = BEV) -> dict[str, Tensor]:
    """A head of a registered task: its maps as trained for a batch of two, and as deployed what the task says, for each
    sample as if it were alone.

    Returns:
        Its maps as trained, for what a task wants beyond.
    """
    config.check(bev)
    task = _task_of(config)(config, bev)
    network: nn.Module = config.build(IN_CHANNELS, bev)
    out: dict[str, Tensor] = network(torch.randn(2, IN_CHANNELS, bev.ny, bev.nx))
    expect({len(value) for value in out.values()} == {2}, config, "maps are not of the batch's two samples")
    expect_learns(network, list(out.values()), config)
    found = {name: (tuple(v[:1].shape), v.numpy().dtype.name) for name, v in task.deployed(_still(out)).items()}
    wanted = {raw.name: (raw.shape, raw.dtype) for raw in task.maps}
    expect_equal(found, wanted, config, f"maps as task '{task.name}' deploys them")
    _expect_samples_apart(config, network.eval(), task, bev)
    return out


def _expect_samples_apart(config: HeadConfig, network: nn.Module, task: Task, bev: BEVGrid) -> None:
    """A batch of two gives what two of one give. Near ties may be broken otherwise: a class, a query at the cut."""
    x = torch.randn(2, IN_CHANNELS, bev.ny, bev.nx)
    with torch.no_grad():
        both, alone = task.deployed(network(x)), [task.deployed(network(one[None])) for one in x]
    for raw in task.maps:
        a, b = both[raw.name].numpy(), np.concatenate([one[raw.name].numpy() for one in alone])
        what = f"{raw.name} of a batch of two against two of one"
        if raw.kind == "classes":
            expect((a != b).mean() < 1e-3, config, f"{what}: classes differ")
            continue
        if raw.kind == "set":
            a, b, share = paired(a, b)
            expect(share > 0.98, config, f"{what}: {share:.0%} are the same queries")
        expect_close(torch.from_numpy(a), torch.from_numpy(b), config, what)


def check_detection_head(config: HeadConfig, bev: BEVGrid = BEV) -> None:
    """A head of the detection task: from nothing it finds next to nothing, so that the focal loss starts low."""
    heat = float(check_head(config, bev)[HEATMAP].detach().sigmoid().mean())
    expect(heat < 0.2, config, f"mean of the heat map at the start: found {heat:.2f}; accepted: less than 0.2")


def check_occupancy_head(config: HeadConfig, bev: BEVGrid = BEV) -> None:
    """A head of the occupancy task: 18 classes, and what lies beyond the 40 m of the labels is never read."""
    expect_equal(tuple(check_head(config, bev)[OCCUPANCY].shape), (2, 18, 16, 200, 200), config, "shape")
    network = config.build(IN_CHANNELS, bev).eval()
    x = torch.randn(1, IN_CHANNELS, bev.ny, bev.nx)
    with torch.no_grad():
        before = network(x)[OCCUPANCY]
        border = round((bev.x_range_m[1] - 40.0) / bev.cell_m)
        x[:, :, :border] = x[:, :, -border:] = x[:, :, :, :border] = x[:, :, :, -border:] = 1e3
        expect(torch.equal(network(x)[OCCUPANCY], before), config, "reads what lies beyond 40 m")


def check_task(task: Task, batch: Mapping[str, Any]) -> None:
    """A task on a batch of samples with its truth: declared names, losses that teach its head, results to keep.

    Args:
        task: made from a head's configuration and a grid.
        batch: of its own truth (`bevlite.models.samples.dataset_of(...).collate`).
    """
    expect(TASKS.members.get(task.name) is type(task), task.name, "is not registered under its name")
    expect(all(weight >= 0 for weight in task.weights.values()), task.name, "a weight is negative")
    size = len(batch["token"])
    network = task.head.build(IN_CHANNELS, task.bev)
    out = network(torch.randn(size, IN_CHANNELS, task.bev.ny, task.bev.nx))
    weights = {**task.weights, **task.head.auxiliary}
    terms = task.losses(out, batch, weights)
    expect(terms, task.name, "has no loss")
    expect(set(terms) <= set(weights), task.name, f"losses {sorted(set(terms) - set(weights))} have no weight")
    total = torch.stack(list(terms.values())).sum()
    expect(torch.isfinite(total), task.name, "its loss is not finite")
    total.backward()
    expect(
        any(p.grad is not None and p.grad.any() for p in network.parameters()), task.name, "teaches its head nothing"
    )
    silent = task.losses(_still(out), batch, dict.fromkeys(weights, 0.0))
    expect(not any(float(term) for term in silent.values()), task.name, "a loss ignores its weight")
    deployed = {name: value.numpy() for name, value in task.deployed(_still(out)).items()}
    for i in range(size):
        result = task.result(deployed, batch, i)
        kept = all(isinstance(value, np.ndarray) for value in result.values())
        expect(result and kept, task.name, "result() gives no arrays")


def _still(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in outputs.items()}


def _task_of(config: HeadConfig) -> type[Task]:
    found = [task for task in TASKS.members.values() if type(config) in task.heads.members.values()]
    expect(found, config, "is registered as a head of no task")
    return found[0]
