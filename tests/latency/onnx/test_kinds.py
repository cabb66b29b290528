from __future__ import annotations

from itertools import combinations

import pytest

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
