from __future__ import annotations

from onnx import helper

from bevlite.export.check.operators import OperatorFinding, check_model
from bevlite.reporting.latency_support import support
from bevlite.tensorrt import VERSIONS
from tests.latency.graphs import model, weight


def finding(severity: str, version: str, node: str, reason: str = "why") -> OperatorFinding:
    return OperatorFinding(severity, version, node, "Op", reason, "remedy")  # type: ignore[arg-type]


def test_nodes_and_versions_with_the_same_problem_share_a_row() -> None:
    found = [finding("error", v, n) for v in ("8.5", "8.6") for n in ("a", "b", "c")]
    (row,) = support({"m": found}, ("8.5", "8.6", "10.3")).rows
    assert len(row.nodes) == 3 and row.verdicts == {"8.5": "refused", "8.6": "refused"}
    assert row.versions("refused") == "8.5, 8.6"


def test_the_same_node_name_in_two_modules_is_two_nodes() -> None:
    (row,) = support({"m": [finding("error", "8.5", "a")], "k": [finding("error", "8.5", "a")]}, ("8.5",)).rows
    assert len(row.nodes) == 2


def test_worst_first_and_a_warning_does_not_spoil_a_version() -> None:
    found = [
        finding("warning", "10.3", "a", "slow"),
        finding("silent_wrong", "8.6", "b", "wrong"),
        finding("error", "8.5", "c", "refused"),
    ]
    result = support({"m": found}, ("8.5", "8.6", "10.3", "11.1"))
    assert [row.worst for row in result.rows] == ["refused", "runs wrongly", "warning"]
    assert result.versions == ("8.5", "8.6", "10.3", "11.1") and result.clean == ("10.3", "11.1")


def test_only_the_versions_asked_for() -> None:
    found = [finding("error", "8.5", "a"), finding("error", "10.3", "a")]
    assert support({"m": found}, ("10.3",)).rows[0].verdicts == {"10.3": "refused"}


def test_a_missing_importer_is_one_row_for_all_versions_that_lack_it() -> None:
    shapes = {"x": (1, 4, 8, 8), "offset": (1, 18, 8, 8)}
    deform = helper.make_node("DeformConv", ["x", "w", "offset"], ["y"], name="deform", pads=[1, 1, 1, 1])
    graph = model([deform], shapes, ["y"], [weight("w", 4, 4, 3, 3)], opset=19)
    rows = [r for r in support({"m": check_model(graph)}, VERSIONS).rows if "importer" in r.reason]
    assert len(rows) == 1 and {"8.5", "8.6"} <= set(rows[0].verdicts) and "8.5" not in rows[0].reason
