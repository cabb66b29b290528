"""Lift-splat exported by image columns: the same sum as trained, for any calibration, in torch and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from bevlite import testing
from bevlite.export.graph.graphs import module_graphs
from bevlite.models.view_transforms.depth_lss import DepthLSSConfig
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.columns import column_levels
from bevlite.runtime.pooling import frustum_cells
from bevlite.tensorrt import STRONG, WEAK
from bevlite.testing.network import small_variant
from tests.models.test_lss import IMAGE, calibration, exported_sum, lift_splat, lifted, tables_of, turned

WIDE = (1500, 16000, 4000, 1200, 400, 100, 40)


@pytest.mark.parametrize("chunk", [2, 4])
def test_columns_equal_training_on_random_calibrations(chunk: int) -> None:
    rng = np.random.default_rng(chunk)
    network = lift_splat(pooling="columns", chunk=chunk, capacity=WIDE)
    for amount in (0.0, 0.1, 1.0, 1.0):
        matrices = calibration(rng, amount)
        depth, context = lifted(network, rng)
        tables = tables_of(network, matrices)
        exported = exported_sum(network, depth, context, tables)
        trained = network.pool(depth, context, network.cells(torch.from_numpy(matrices)[None]))
        assert exported.dtype == trained.dtype == torch.float64 and trained.abs().max() > 1
        torch.testing.assert_close(exported, trained, rtol=1e-10, atol=1e-10)
        assert [(k, v.shape) for k, v in tables.items()] == [(s.name, s.shape) for s in network.host.inputs]


@pytest.mark.parametrize(("form", "limit"), [(WEAK, 2e-6), (STRONG, 2e-3)], ids=["weak", "strong"])
def test_one_file_serves_any_calibration(form: Any, limit: float) -> None:
    """ONNX Runtime against a sum in float64: FP16's error is that of its rounding, not of a running sum."""
    capacity = list(WIDE)
    view = {"pooling": "columns", "capacity": capacity, "depth_range_m": [1.0, 49.0], "depth_step_m": 2.0}
    variant = small_variant(camera={"images": {"height": IMAGE[0], "width": IMAGE[1]}, "view_transform": view})
    module = next(module for module in module_graphs(variant) if module.name == "view_transform")
    session = onnxruntime.InferenceSession(module.make(form).SerializeToString(), providers=["CPUExecutionProvider"])
    network = lift_splat(**{**view, "capacity": WIDE, "channels": 8})
    rng = np.random.default_rng(3)
    for amount in (0.0, 0.3, 1.0):
        matrices = calibration(rng, amount)
        depth, context = lifted(network, rng)
        given = {"depth": depth, "context": context}
        half = {entry.name: entry.type == "tensor(float16)" for entry in session.get_inputs()}
        feed = {name: tensor.numpy().astype("float16" if half[name] else "float32") for name, tensor in given.items()}
        found = session.run(None, {**feed, **tables_of(network, matrices)})[0].astype("float64")
        given = {name: torch.from_numpy(array.astype("float64")) for name, array in feed.items()}
        wanted = network.pool(given["depth"], given["context"], network.cells(torch.from_numpy(matrices)[None])).numpy()
        assert np.linalg.norm(found - wanted) <= limit * np.linalg.norm(wanted)


def test_in_a_network() -> None:
    """Exported in both emissions, taken by the operator check and by NVIDIA's compiler, the same through ORT."""
    testing.check_in_network(LSSConfig(pooling="columns", channels=8))


@pytest.mark.parametrize("config", [LSSConfig, DepthLSSConfig])
def test_what_is_exported_is_what_is_trained(config: type[LSSConfig]) -> None:
    testing.check_view_transform(config(pooling="columns", channels=8))
    testing.check_view_transform(config(pooling="columns", channels=8, pixels="border", halved=True))


def test_default_capacity_serves_real_cars() -> None:
    network, rng = lift_splat(pooling="columns", capacity=None), np.random.default_rng(0)
    for _ in range(10):
        matrices = nominal_pixel_to_bev(*IMAGE)
        for matrix in matrices:
            matrix[:3, :3] = turned(*rng.normal(0, np.deg2rad(2), 3)) @ matrix[:3, :3] * rng.normal(1, 0.01)
            matrix[:3, 3] += rng.normal(0, 0.05, 3)
        tables = tables_of(network, matrices)
        kept = int((frustum_cells(network.frustum, network.grid, matrices) >= 0).sum())
        assert int((tables["depth_index"] > 0).sum()) == kept > 0
    single = lift_splat(pooling="columns", capacity=None, cameras=1)
    one = calibration(rng)[:1]
    kept = int((frustum_cells(single.frustum, single.grid, one) >= 0).sum())
    assert int((tables_of(single, one)["depth_index"] > 0).sum()) == kept


def test_what_does_not_fit_is_an_error() -> None:
    matrices = calibration(np.random.default_rng(5))
    probe = lift_splat(pooling="columns")
    needed = column_levels(frustum_cells(probe.frustum, probe.grid, matrices), probe.host.chunk)
    tables_of(lift_splat(pooling="columns", capacity=tuple(needed)), matrices)
    with pytest.raises(ValueError, match=f"level 1 needs {needed[0]} groups .* room for {needed[0] - 1}; set view_tr"):
        tables_of(lift_splat(pooling="columns", capacity=(needed[0] - 1, *needed[1:])), matrices)


def test_it_is_a_choice_of_the_engine_that_moves_less() -> None:
    """Networks of before are the ones they were; a chunk that nobody gave is one that suits the form."""
    assert LSSConfig().pooling == "tree" and LSSConfig().chunk == 8
    assert LSSConfig(pooling="columns").chunk == 4 and LSSConfig(pooling="columns", chunk=8).chunk == 8
    plain, tree, columns = (
        small_variant(camera={"view_transform": view}) for view in ({}, {"pooling": "tree"}, {"pooling": "columns"})
    )
    assert plain.network_hash == tree.network_hash != columns.network_hash
    rows = {}
    for pooling in ("tree", "columns"):
        view = LSSConfig(pooling=pooling).build(
            8, 16, (256, 704), 6, testing.network.small_variant(bev={"cell_m": 0.8}).bev
        )
        assert isinstance(view, LiftSplat)
        first, *rest = (spec.shape for spec in view.host.inputs if spec.name.startswith(("depth", "level")))
        written = first[0] * (first[1] if pooling == "columns" else 1 + first[1])  # a product writes rows, a gather too
        rows[pooling] = written + sum(shape[0] * (1 + shape[1]) for shape in rest)
    assert rows["columns"] < rows["tree"] / 6
