from __future__ import annotations

from itertools import combinations

import pytest

from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.gpu.kinds import kind_of
from bevlite.latency.onnx.kinds import KINDS, ROWS, kind_of_operator


def test_an_operator_stands_in_one_row() -> None:
    for first, second in combinations(ROWS, 2):
        assert not first.operators & second.operators, (first.words, second.words)
    assert {row.kind for row in ROWS} == set(KINDS) - {"depthwise"}  # which products tell, no operator


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("Conv", "convolution"),
        ("ConvTranspose", "convolution"),
        ("MatMul", "matrix product"),
        ("Gemm", "matrix product"),
        ("Attention", "attention"),
        ("Softmax", "normalisation and reduction"),
        ("Sigmoid", "elementwise"),
        ("Transpose", "copy and transpose"),
        ("Reformat", "copy and transpose"),
        ("GridSample", "resize and sampling"),
        ("ScatterND", "gather and scatter"),
        ("Mystery", "other"),
    ],
)
def test_operators_have_a_kind_in_plain_words(op: str, kind: str) -> None:
    assert kind_of_operator(op).words == kind


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
