"""The contract tests of BEVLite, on this package's backbone."""

from bevlite_tiny_cnn import TinyCNNConfig

from bevlite.testing import check_backbone, check_in_network


def test_contract() -> None:
    """Strides, shapes, gradients."""
    check_backbone(TinyCNNConfig(width=8))


def test_in_a_network() -> None:
    """Counted, exported, the same in ONNX Runtime as in torch."""
    check_in_network(TinyCNNConfig(width=8))
