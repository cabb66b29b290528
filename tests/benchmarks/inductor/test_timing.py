"""Times of kernels of torch's compiler, where they are other than an engine's, against closed forms."""

from __future__ import annotations

import pytest

from benchmarks.inductor.backend import Inductor
from benchmarks.inductor.coefficients import COMPILER_FITTABLE, CompilerCoefficients
from benchmarks.inductor.features import CompiledKernel
from benchmarks.inductor.library import MisalignedProduct
from bevlite.latency.calibration.fitting import Measurement, fit, predict_ms
from bevlite.latency.coefficients import FITTABLE, Coefficients, Tile
from bevlite.latency.device import find_device
from bevlite.latency.gpu.backend import Backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import Traffic
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.gpu.kernels import KernelCost, kernel_costs

BACKEND: Backend = Inductor()
TOP = ceilings(find_device("agx-orin-64gb"))
PLAIN = CompilerCoefficients(
    tiles=(Tile(m=128, n=64),),
    split_k=(1,),
    gemm_efficiency=1.0,
    product_fill_cycles=0.0,
    k_step_cycles=0.0,
    operand_bytes_per_cycle=1e9,
)


def kernel(
    products: tuple[Product, ...] = (), traffic: tuple[Traffic, ...] = (), element_flops: float = 0.0, **more: float
) -> CompiledKernel:
    return CompiledKernel("k", "MatMul", (), "fp16", 1, products, False, traffic, element_flops, **more)  # type: ignore[arg-type]


def costs(kernels: list[CompiledKernel], c: CompilerCoefficients) -> list[KernelCost]:
    return kernel_costs(kernels, TOP, c, BACKEND)


def test_what_a_kernel_touches_decides_what_stays_where_it_is_known() -> None:
    sharp = PLAIN.model_copy(update={"l2_edge": 50.0, "l2_resident_share": 0.5})
    size = TOP.l2_bytes * 0.3
    pair: tuple[Traffic, ...] = (("read", size), ("read", size))
    alone, over, within = costs(
        [
            kernel(traffic=pair),
            kernel(traffic=pair, footprint_bytes=2 * size),
            kernel(traffic=pair, footprint_bytes=size),
        ],
        sharp,
    )
    assert over.memory_us == pytest.approx(2 * size / TOP.read_bytes_per_us, rel=1e-3)
    assert alone.memory_us == within.memory_us == pytest.approx(over.memory_us / PLAIN.l2_speedup, rel=1e-3)


def test_a_kernel_among_many_waits_for_its_instructions() -> None:
    waiting = PLAIN.model_copy(update={"switch_share": 0.5})
    lone, crowded = costs([kernel(crowd=0.0), kernel(crowd=1.0)], waiting)
    assert lone.latency_us == pytest.approx(TOP.launch_us)
    assert crowded.latency_us == pytest.approx(1.5 * TOP.launch_us)


def test_what_is_not_hidden_of_the_shorter_part_is_added() -> None:
    work = kernel(traffic=(("read", 1e9),), element_flops=1e9)
    (hidden,), (exposed,) = (costs([work], c) for c in (PLAIN, PLAIN.model_copy(update={"exposed_share": 0.5})))
    shorter = min(hidden.compute_us, hidden.memory_us)
    assert exposed.latency_us - hidden.latency_us == pytest.approx(0.5 * shorter)


def test_steps_of_an_image_wait_longer_and_do_not_split() -> None:
    c = PLAIN.model_copy(update={"k_step_cycles": 100.0, "stem_latency": 20.0, "split_k": (1, 8)})
    image = Product(1, 64, 64, 1024, 1.0, convolution=True, stem=True)
    (cost,) = costs([kernel((image,))], c)
    assert cost.compute_us == pytest.approx(1024 / 64 * 100 * 20 * c.conv_latency / TOP.clock_mhz)


def test_rows_that_no_library_pads_come_to_a_share_of_the_ceiling() -> None:
    sizes = (1, 1000, 100, 512, 2.0 * 1000 * 100 * 512)
    plain, odd = costs([kernel((Product(*sizes),)), kernel((MisalignedProduct(*sizes),))], PLAIN)
    assert odd.compute_us == pytest.approx(plain.compute_us / PLAIN.misaligned_efficiency)


def test_what_does_not_lie_together_costs_its_own_share() -> None:
    (scattered,) = costs([kernel(traffic=(("strided", 1e6),))], PLAIN)
    assert scattered.memory_us == pytest.approx(1e6 / TOP.read_bytes_per_us / PLAIN.strided_efficiency)


def test_its_coefficients_are_those_of_the_library_and_its_own() -> None:
    own = set(COMPILER_FITTABLE) - set(FITTABLE)
    assert own == {"misaligned_efficiency", "strided_efficiency"}
    assert {name: COMPILER_FITTABLE[name] for name in FITTABLE} == FITTABLE
    assert not own & set(Coefficients.model_fields)


def test_a_fit_finds_a_coefficient_that_only_this_backend_has() -> None:
    truth = PLAIN.model_copy(update={"strided_efficiency": 0.08})
    rows = []
    for i in range(6):
        kernels = (kernel(traffic=(("strided", 1e7 * (i + 1)),)), kernel(traffic=(("read", 1e6),)))
        row = Measurement(kernels, 1.0, TOP, "ab"[i % 2], f"n{i}")
        rows.append(Measurement(kernels, float(predict_ms([row], truth, BACKEND)[0]), TOP, row.family, row.network))
    found, held = fit(rows, PLAIN, ("strided_efficiency",), BACKEND)
    assert held == {} and isinstance(found, CompilerCoefficients)
    assert found.strided_efficiency == pytest.approx(0.08, rel=0.05)
