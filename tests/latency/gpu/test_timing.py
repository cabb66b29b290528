"""Times of single kernels against closed forms."""

from __future__ import annotations

from math import ceil

import pytest
from onnx import helper

from bevlite.latency.coefficients import Coefficients, Tile
from bevlite.latency.device import find_device
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import KernelFeatures, Traffic, kernel_features
from bevlite.latency.gpu.fusion import Rules, fuse, tensorrt_rules
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.gpu.kernels import kernel_costs
from bevlite.latency.interval import is_windowed
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import model, weight

BOARD = find_device("agx-orin-64gb")
TOP = ceilings(BOARD)
PLAIN = Coefficients(
    tiles=(Tile(m=128, n=64),),
    split_k=(1,),
    gemm_efficiency=1.0,
    product_fill_cycles=0.0,
    k_step_cycles=0.0,
    operand_bytes_per_cycle=1e9,
)
node = helper.make_node


def kernel(products: tuple[Product, ...] = (), traffic: tuple[Traffic, ...] = (), **more: float) -> KernelFeatures:
    element_flops = more.pop("element_flops", 0.0)
    return KernelFeatures("k", "MatMul", (), "fp16", 1, products, False, traffic, element_flops, **more)  # type: ignore[arg-type]


def test_a_product_takes_whole_waves_of_whole_tiles() -> None:
    m, n, k = 1000, 100, 512
    (cost,) = kernel_costs([kernel((Product(1, m, n, k, 2.0 * m * n * k),))], TOP, PLAIN)
    tiles = ceil(m / 128) * ceil(n / 64)  # 16: one on each multiprocessor
    assert tiles == TOP.sm_count
    rate_of_one = TOP.tensor_flop_per_us / TOP.sm_count
    assert cost.compute_us == pytest.approx(2 * 128 * 64 * k / rate_of_one)
    assert cost.latency_us == pytest.approx(cost.compute_us + TOP.launch_us)
    # One tile more starts a second wave, half of which counts.
    (more,) = kernel_costs([kernel((Product(1, m + 100, n, k, 1.0),))], TOP, PLAIN)
    assert more.compute_us == pytest.approx(cost.compute_us * (18 / 16 + 2) / 2)


def test_a_tile_waits_for_its_operands_where_the_cache_is_slow() -> None:
    slow = PLAIN.model_copy(update={"operand_bytes_per_cycle": 4.0})
    (cost,) = kernel_costs([kernel((Product(1, 1000, 100, 512, 1.0),))], TOP, slow)
    assert cost.compute_us == pytest.approx((128 + 64) * 512 * 2 / (4.0 * TOP.clock_mhz))


def test_a_tile_is_bound_by_its_latency_where_there_are_few() -> None:
    waiting = PLAIN.model_copy(update={"product_fill_cycles": 1000.0, "k_step_cycles": 2000.0})
    (cost,) = kernel_costs([kernel((Product(1, 64, 64, 512, 1.0),))], TOP, waiting)
    assert cost.compute_us == pytest.approx(512 / 64 * 2000 / TOP.clock_mhz)
    assert cost.launch_us == pytest.approx(TOP.launch_us + 1000 / TOP.clock_mhz)


def test_splitting_k_fills_idle_multiprocessors() -> None:
    split = PLAIN.model_copy(update={"split_k": (1, 2, 4, 8)})
    deep = kernel((Product(1, 128, 64, 65536, 1.0),))
    (whole,), (parts,) = kernel_costs([deep], TOP, PLAIN), kernel_costs([deep], TOP, split)
    assert whole.compute_us / 8 < parts.compute_us < whole.compute_us / 6  # eight parts, and bringing them together


def test_traffic_streams_from_memory_or_stays_in_the_cache() -> None:
    large, small = 1e9, 1e3
    costs = kernel_costs(
        [kernel(traffic=(("read", large),)), kernel(traffic=(("write", large),)), kernel(traffic=(("read", small),)),
         kernel(traffic=(("constant", small),)), kernel(traffic=(("constant", small),), resident_bytes=1e9)],
        TOP, PLAIN,
    )  # fmt: skip
    assert costs[0].memory_us == pytest.approx(large / 152.8e3, rel=1e-3)
    assert costs[1].memory_us == pytest.approx(large / 183.3e3, rel=1e-3)
    assert costs[2].memory_us == pytest.approx(small / 152.8e3 / PLAIN.l2_speedup, rel=1e-3)
    assert costs[3].memory_us == pytest.approx(small / 152.8e3 / PLAIN.l2_speedup, rel=1e-3)
    assert costs[4].memory_us == pytest.approx(small / 152.8e3)  # weights that do not all fit come from memory
    assert [cost.bound for cost in costs] == ["memory", "memory", "launch", "launch", "launch"]


def test_fewer_clocks_and_multiprocessors_slow_compute_and_not_memory() -> None:
    low = ceilings(BOARD, "30W")
    assert low.tensor_flop_per_us / TOP.tensor_flop_per_us == pytest.approx(612 / 1300.5 * 8 / 16)
    assert low.read_bytes_per_us == TOP.read_bytes_per_us
    assert low.launch_us / TOP.launch_us == pytest.approx(1300.5 / 612)


@pytest.mark.parametrize("name", ["agx-orin-32gb", "orin-nx-16gb", "orin-nano-8gb", "drive-orin-x"])
def test_other_boards_are_their_data_sheet_times_the_measured_share(name: str) -> None:
    other = find_device(name)
    peak = {"agx-orin-32gb": 26.7, "orin-nx-16gb": 15.0, "orin-nano-8gb": 10.2, "drive-orin-x": 41.8}[name]
    pin = {"agx-orin-32gb": 204.8, "orin-nx-16gb": 102.4, "orin-nano-8gb": 68.0, "drive-orin-x": 204.8}[name]
    assert other.gemm_16bit_tflops.value / peak == pytest.approx(33.7 / 42.5, rel=0.01)
    assert other.dram_read_gb_per_s.value / pin == pytest.approx(152.8 / 204.8, rel=0.01)
    assert other.dram_copy_gb_per_s.value / pin == pytest.approx(183.3 / 204.8, rel=0.01)


def attention(batch: int, tokens: int) -> list[KernelFeatures]:
    nodes = [
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    m = model(nodes, {"q": (batch, tokens, 32), "k": (batch, 32, tokens), "v": (batch, tokens, 32)}, ["y"])
    graph = read_graph(m)
    return kernel_features(graph, fuse(graph), "fp16")


def test_windowed_attention_is_known_by_its_many_small_products() -> None:
    assert any(map(is_windowed, attention(64 * 3 * 6, 49)))  # Swin's first stage, six images
    assert not any(map(is_windowed, attention(12, 197)))  # ViT-B at 224
    assert not any(map(is_windowed, attention(10_000, 1)))  # sums over pillars or cells


def test_windowed_attention_says_that_no_row_covers_it() -> None:
    nodes = [
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    m = model(nodes, {"q": (192, 49, 32), "k": (192, 32, 49), "v": (192, 49, 32)}, ["y"])
    found = predict_onnx(m, BOARD)
    assert any("windowed attention: no trustworthy Orin row; +-45%" in note for note in found.notes)
    assert found.upper_ms / found.latency_ms == pytest.approx(1.45)
    assert found.lower_ms / found.latency_ms == pytest.approx(0.55)


def test_rules_by_version() -> None:
    assert tensorrt_rules((8, 5)) == Rules(attention=False, gemm_epilogue=False, layer_norm=False)
    assert tensorrt_rules((8, 6)) == Rules(gemm_epilogue=False)
    assert tensorrt_rules((10, 3)) == tensorrt_rules((11, 4)) == Rules(depthwise_functions=False)


def test_activation_of_a_product_is_a_kernel_before_tensorrt_10() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Erf", ["a"], ["y"])]
    graph = read_graph(model(nodes, {"x": (64, 32)}, ["y"], [weight("w", 32, 32), weight("b", 32)]))
    counts = {v: len(fuse(graph, tensorrt_rules(v)).groups) for v in ((8, 6), (10, 3))}
    assert counts == {(8, 6): 2, (10, 3): 1}
