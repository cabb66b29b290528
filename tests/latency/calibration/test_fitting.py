from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bevlite.config import to_yaml
from bevlite.errors import BevliteError, ConfigError
from bevlite.latency.calibration.fitting import Measurement, bands, calibrate, cross_validate, fit, predict_ms
from bevlite.latency.coefficients import (
    DEFAULT,
    PREDICTOR_VERSION,
    SHIPPED,
    Coefficients,
    load_calibration,
    predictor_name,
)
from bevlite.latency.device import find_device
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import KernelFeatures, nms_plugin
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import conv_relu

BOARD = find_device("agx-orin-64gb")
TOP = ceilings(BOARD, cuda_graph=False)


def kernel(m: int, n: int, k: int, *, conv: bool = True, depthwise: bool = False, moved: float = 1e5) -> KernelFeatures:
    product = Product(1, m, n, k, 2.0 * m * n * k, convolution=conv, depthwise=depthwise)
    return KernelFeatures("k", "Conv", (), "fp16", 1, (product,), False, (("read", moved),), 0.0)


def networks(truth: Coefficients, noise: float = 0.0, each: int = 4) -> list[Measurement]:
    """Networks in three families, priced with known coefficients."""
    random = np.random.default_rng(0)
    found = []
    for family in ("dense", "depthwise", "products"):
        for i in range(each):
            size = 256 * (i % 4 + 1)
            kernels = [kernel(4 * size, 64 * (i % 4 + 1), 576) for _ in range(5 + 3 * i)]
            kernels += [kernel(64, 64, 64)] * (20 - i)  # launches and little else
            kernels += [kernel(400 * size, 64, 9, depthwise=True)] * (6 if family == "depthwise" else 1)
            kernels += [kernel(size, 768, 768, conv=False)] * (8 if family == "products" else 1)
            row = Measurement(tuple(kernels), 1.0, TOP, family, f"{family}-{i}")
            ms = float(predict_ms([row], truth)[0]) * float(np.exp(noise * random.normal()))
            found.append(Measurement(row.kernels, ms, TOP, family, row.network))
    return found


NAMES = ("launch_share", "conv_efficiency", "gemm_efficiency", "depthwise_efficiency")


def coefficients(**values: float) -> Coefficients:
    """A board whose tiles never wait, so that compute is what the numbers say."""
    free = {"operand_bytes_per_cycle": 1e4, "k_step_cycles": 0.0, "product_fill_cycles": 0.0}
    return Coefficients(**(free | values))


def test_known_coefficients_are_found_again() -> None:
    truth = coefficients(launch_share=1.7, conv_efficiency=0.6, gemm_efficiency=0.5, depthwise_efficiency=0.06)
    rows = networks(truth)
    found, held = fit(rows, coefficients(), NAMES)
    assert held == {}
    np.testing.assert_allclose(predict_ms(rows, found), [m.latency_ms for m in rows], rtol=0.03)
    for name in NAMES:  # the prior draws a little where a coefficient is a small part of the time
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=0.1)


def test_what_the_data_does_not_tell_stays_where_it_was() -> None:
    rows = networks(coefficients(launch_share=1.7))
    found, held = fit(rows, coefficients(), (*NAMES, "attention_efficiency", "nms_flop_per_anchor"))
    assert set(held) == {"attention_efficiency", "nms_flop_per_anchor"}  # no row has either
    assert "do not tell it" in held["attention_efficiency"]
    assert found.attention_efficiency == coefficients().attention_efficiency


def test_few_networks_bear_few_coefficients() -> None:
    rows = networks(coefficients(launch_share=2.0, conv_efficiency=0.5))[:3]
    _, held = fit(rows, coefficients(), NAMES)
    assert len(held) >= len(NAMES) - 1


def test_one_far_outlier_does_not_move_the_rest() -> None:
    truth = coefficients(launch_share=1.7, conv_efficiency=0.6)
    rows = networks(truth, each=8)
    wrong = Measurement(rows[0].kernels, rows[0].latency_ms * 3, TOP, rows[0].family, rows[0].network)
    found, _ = fit([wrong, *rows[1:]], coefficients(), NAMES)
    error = predict_ms(rows[1:], found) / [m.latency_ms for m in rows[1:]] - 1
    assert np.abs(error).max() < 0.1


def test_cross_validation_never_sees_what_it_predicts() -> None:
    rows = networks(coefficients(depthwise_efficiency=0.03))
    predicted, errors = cross_validate(rows, coefficients(depthwise_efficiency=0.15), ("depthwise_efficiency",))
    by_hand, _ = fit([m for m in rows if m.family != "dense"], coefficients(), ("depthwise_efficiency",))
    inside = [m for m in rows if m.family == "dense"]
    np.testing.assert_allclose(predicted[:4], predict_ms(inside, by_hand))
    assert [e.family for e in errors] == ["dense", "depthwise", "products"]
    with pytest.raises(BevliteError, match="one family"):
        cross_validate(inside, coefficients(), NAMES)


def test_a_calibration_is_a_file_that_predicts(tmp_path: Path) -> None:
    found = calibrate(networks(coefficients(launch_share=2.0), noise=0.05), coefficients(), "mine", NAMES)
    assert found.rows == 12 and found.networks == 12 and len(found.left_out) == 3
    assert found.coefficients.band_below >= 0.05  # the noise floor of published figures
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(found))
    own = load_calibration(file).coefficients
    assert own == found.coefficients
    plain, mine = predict_onnx(conv_relu(), BOARD), predict_onnx(conv_relu(), BOARD, coefficients=own)
    assert plain.predictor == PREDICTOR_VERSION and mine.predictor == predictor_name(own) != plain.predictor
    assert mine.latency_ms != pytest.approx(plain.latency_ms, rel=1e-4)

    file.write_text(to_yaml(found).replace(PREDICTOR_VERSION, "0.0-older"))
    with pytest.raises(ConfigError, match=r"predictor: found '0\.0-older'; accepted: .*calibrate again"):
        load_calibration(file)


def test_calibration_files_with_coefficients_that_no_kernel_reached_are_still_read(tmp_path: Path) -> None:
    found = load_calibration(SHIPPED)
    older = to_yaml(found) + "  strided_efficiency: 0.2\n  switch_share: 0.0\n"
    file = tmp_path / "older.yaml"
    file.write_text(older)
    assert load_calibration(file) == found
    file.write_text(to_yaml(found) + "  striding_efficiency: 0.2\n")
    with pytest.raises(ConfigError, match="striding_efficiency"):
        load_calibration(file)


def test_what_ships_was_fitted_and_says_to_what() -> None:
    shipped = load_calibration(SHIPPED)
    assert shipped.coefficients == DEFAULT
    assert shipped.rows > 100 and shipped.networks > 20
    assert {row.family for row in shipped.left_out} >= {"YOLO", "ResNet", "mobile CNN", "plain ViT"}
    assert not set(shipped.fitted) & set(shipped.held)


def test_bands_are_those_of_each_precision() -> None:
    """Logarithms of measured over predicted from -0.2 to 0.2 in FP16, 0 to 0.5 in INT8: 80 % of them are inside."""
    half = networks(coefficients())
    int8 = [replace(m, kernels=tuple(replace(k, precision="int8") for k in m.kernels)) for m in half]
    logs = np.concatenate([np.linspace(-0.2, 0.2, len(half)), np.linspace(0.0, 0.5, len(int8))])
    measured = np.array([m.latency_ms for m in half + int8])
    found = bands(half + int8, measured / np.exp(logs))
    assert np.log1p(found["band_above"]) == pytest.approx(0.16, abs=0.02)
    assert found["band_below"] == pytest.approx(1 - 1 / (1 + found["band_above"]), abs=2e-3)
    assert np.log1p(found["band_above_int8"]) == pytest.approx(0.4, abs=0.03)
    exact = bands(half, measured[: len(half)])
    assert exact == {"band_below": 0.05, "band_above": 0.05}  # the noise floor; nothing tells INT8
    one_family = [m for m in int8 if m.family == "dense"]
    assert not any(name.endswith("int8") for name in bands(half + one_family, np.ones(len(half) + len(one_family))))


def test_kernels_that_differ_by_name_are_timed_once_and_counted_all() -> None:
    plain = networks(coefficients())[0]
    named = tuple(replace(k, name=f"k{i}", nodes=(f"n{i}",)) for i, k in enumerate(plain.kernels))
    together = predict_ms([plain, replace(plain, kernels=named), replace(plain, kernels=named * 2)], coefficients())
    assert together[1] == pytest.approx(together[0]) and together[2] == pytest.approx(2 * together[0])


def test_the_nms_plugin_costs_by_its_anchors() -> None:
    rows = [Measurement((nms_plugin(n),), 1.0, TOP, "f", "n") for n in (8400, 33600)]
    few, many = predict_ms(rows, DEFAULT)
    fixed = DEFAULT.nms_launches * DEFAULT.launch_share * TOP.launch_us / 1e3
    assert (many - fixed) / (few - fixed) == pytest.approx(4)
