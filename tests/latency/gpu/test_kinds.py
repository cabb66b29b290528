from __future__ import annotations

import pytest

from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.gpu.kinds import kind_of


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("Softmax", "reduction"),
        ("GridSample", "gather"),
        ("Gather", "gather"),
        ("TopK", "other"),
        ("Einsum", "other"),  # one that could not be read as a product
        ("Mystery", "other"),
    ],
)
def test_kernels_without_products_have_the_kind_of_their_operator(op: str, kind: str) -> None:
    assert kind_of(KernelFeatures("k", op, (), "fp16", 1, (), False, (), 0.0)) == kind


def test_products_tell_the_kind_of_a_kernel_before_its_operator_does() -> None:
    def kind(attention: bool = False, **more: bool) -> str:
        product = Product(1, 8, 8, 8, 1.0, **more)
        return kind_of(KernelFeatures("k", "LSTM", (), "fp16", 1, (product,), attention, (), 0.0))

    assert kind() == "matmul" and kind(attention=True) == "attention"
    assert kind(convolution=True) == "convolution" and kind(convolution=True, depthwise=True) == "depthwise"
