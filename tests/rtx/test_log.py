"""The log of every known version, kept as it was written."""

from __future__ import annotations

import json

import pytest

from bevlite.rtx.log import UnknownLog, read_listing, read_memory
from tests.rtx.conftest import LOGS


def messages(name: str) -> list[str]:
    return [json.loads(line)[1] for line in (LOGS / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7"])
def test_the_same_network_in_the_log_of_every_version(version: str) -> None:
    found = read_listing(messages(f"float_{version}"))
    products = [layer for layer in found.layers if layer.is_product]
    assert [layer.kind for layer in products] == ["correlation", "correlation", "gemm"]
    first, second, scores = products
    # Of a name with brackets, commas and colons nothing is lost.
    assert first.nodes[0] == "/conv[0], a: b" and "/relu1" in first.nodes
    assert second.nodes[0] == "/second"
    assert [t.shape for t in scores.inputs] == [(1, 256, 8), (1, 8, 256)]
    assert scores.outputs[0].shape == (1, 256, 256)
    assert {t.dtype for layer in found.layers for t in (*layer.inputs, *layer.outputs)} == {"fp32"}
    assert all(layer.is_kernel for layer in found.layers)


@pytest.mark.parametrize("version", ["1.5", "1.6", "1.7"])
def test_later_logs_say_layouts_constants_inputs_and_outputs(version: str) -> None:
    found = read_listing(messages(f"float_{version}"))
    first = next(layer for layer in found.layers if layer.is_product)
    assert first.inputs[0].layout == first.outputs[0].layout == "nhwc"
    assert (8, 8, 3, 3) in [t.shape for t in first.constants]
    ((name, shape, dtype),) = [(t.name, t.shape, t.dtype) for t in found.inputs]
    assert (name, shape, dtype) == ("x", (1, 8, 16, 16), "fp32")
    assert [t.shape for t in found.outputs] == [(1, 256, 256)]


def test_types_of_int8() -> None:
    found = read_listing(messages("int8_1.7"))
    products = [layer for layer in found.layers if layer.runs_int8]
    assert [layer.nodes[0] for layer in products] == ["/first", "/second"]
    for layer in products:
        assert layer.inputs[0].dtype == layer.constants[0].dtype == "int8" and layer.outputs[0].dtype == "fp32"
        # One byte an element of input and weight, four of output, bias and scales.
        assert layer.bytes >= 8 * 16 * 16 * (1 + 4) + 8 * 8 * 9
    assert not found.layers[0].is_product and found.layers[0].outputs[0].dtype == "int8"


def test_memory() -> None:
    memory = read_memory(messages("float_1.7"))
    assert (memory.activations, memory.scratch, memory.weights) == (8_462_336, 8_462_336, 5_120)
    assert memory.weights is not None and memory.weights >= 2 * (8 * 8 * 9 + 8) * 4  # two convolutions with bias
    assert read_memory(["nothing of it"]).scratch is None


def test_a_log_of_another_form_is_said_to_be_unknown() -> None:
    kept = messages("float_1.7")
    listing = next(text for text in kept if text.startswith("Layers:"))
    with pytest.raises(UnknownLog, match="no message of the log begins with 'Layers:'"):
        read_listing([text for text in kept if text is not listing])
    for old, new, said in (
        ("LayerType: ", "Type: ", "a layer is not written as known"),
        ("Outputs: [", "Results: [", "a layer is not written as known"),
        ("Datatype: ", "Precision: ", "a tensor is not written as known"),
        ("Dimensions: [", "Shape: [", "a tensor is not written as known"),
    ):
        with pytest.raises(UnknownLog, match=said):
            read_listing([listing.replace(old, new)])
    with pytest.raises(UnknownLog, match="no layer stands behind"):
        read_listing(["Layers:\n\nI/O Tensors:"])


def test_a_log_that_is_cut_off_anywhere_gives_no_half_list() -> None:
    """What can be read of a cut list is a prefix of it in whole layers, or the log is said to be unknown."""
    listing = next(text for text in messages("int8_1.7") if text.startswith("Layers:"))
    whole = read_listing([listing]).layers
    for end in range(0, len(listing), 97):
        try:
            found = read_listing([listing[:end]]).layers
        except UnknownLog:
            continue
        assert [layer.outputs for layer in found] == [layer.outputs for layer in whole[: len(found)]]
