from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from bevlite.config import validate
from bevlite.errors import BevliteError, ConfigError
from bevlite.tasks.contract import TASKS
from search.latency.summary import LatencySummary
from search.space.objectives import Candidate, ObjectiveError, Objectives, Score

RESULT = {"split": "val", "samples": 10, "NDS": 0.4, "mAP": 0.3, "occ_miou": 0.2, "per_class": {}}


def test_mix_and_label() -> None:
    mix = Objectives(accuracy={"nds": 0.7, "occ_miou": 0.3}, floors={"occ_miou": 0.25})
    assert mix.accuracy_of(RESULT) == pytest.approx(0.34)
    assert mix.label == "0.7 NDS + 0.3 occ_miou"
    assert mix.floor_violations(RESULT) == {"floor_occ_miou": pytest.approx(0.2)}
    assert Objectives().label == "NDS"


def test_score_keeps_split_samples_and_numbers() -> None:
    score = Score.of(Objectives(), RESULT)
    assert score.where == "val, 10 samples"
    assert score.metrics == {"NDS": 0.4, "mAP": 0.3, "occ_miou": 0.2}


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_metric_that_is_no_number_is_refused(value: float | None) -> None:
    with pytest.raises(BevliteError, match="NDS"):
        Objectives().accuracy_of(RESULT | {"NDS": value})


@pytest.mark.parametrize("key", ["accuracy", "floors"])
def test_an_unknown_accuracy_is_one_line_with_all_that_there_are(key: str) -> None:
    with pytest.raises(ConfigError, match=r"found 'miou'; accepted: nds, map, map_miou, occ_miou$") as caught:
        validate({key: {"miou": 1.0}}, Objectives, "search.yaml: objectives")
    assert str(caught.value).startswith(f"search.yaml: objectives: {key}") and "\n" not in str(caught.value)


def test_the_scores_of_every_task_are_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = TASKS.scores() | {"height": ("ground", "height_l1")}
    monkeypatch.setattr(type(TASKS), "scores", lambda self: scores)
    mix = Objectives(accuracy={"nds": 0.5, "height": 0.5}, floors={"height": 0.2})
    assert mix.label == "0.5 NDS + 0.5 height_l1"
    assert mix.accuracy_of(RESULT | {"height_l1": 0.6}) == pytest.approx(0.5)
    mix.check_tasks(("detection", "ground"))
    with pytest.raises(ConfigError, match="needs the task ground"):
        mix.check_tasks(("detection", "occupancy"))


LATENCY = LatencySummary("predicted", 40.0, 30.0, 50.0, {"camera": 20.0}, {})
CANDIDATE = Candidate({"name": "x", "camera": None}, LATENCY)


def per_millisecond(*, metrics: Mapping[str, float], variant: Mapping[str, Any], latency: LatencySummary) -> float:
    """For the tests below."""
    assert variant["name"] == "x" and latency.modules == {"camera": 20.0}
    return metrics["NDS"] / latency.total_ms


def raises(**known: Any) -> float:
    raise KeyError("NDS")


def says(**known: Any) -> str:
    return "good"


def not_a_number(**known: Any) -> float:
    return float("nan")


def objectives(name: str) -> Objectives:
    return validate({"function": f"{__name__}:{name}"}, Objectives, "search.yaml: objectives")


def test_a_function_of_metrics_variant_and_latency() -> None:
    ours = objectives("per_millisecond")
    assert ours.label == "per_millisecond"
    score = Score.of(ours, RESULT, CANDIDATE)
    assert score.accuracy == pytest.approx(0.01) and score.metrics["mAP"] == 0.3
    ours.check_tasks(("occupancy",))  # NDS is not asked for


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "raised KeyError: 'NDS'"),
        ("says", "returned 'good'; accepted: a finite number"),
        ("not_a_number", "returned nan; accepted: a finite number"),
    ],
)
def test_a_function_that_fails_is_named(name: str, said: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        Score.of(objectives(name), RESULT, CANDIDATE)
    assert str(caught.value) == f"objectives.function {__name__}:{name}: {said}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"function": "nowhere"}, "found 'nowhere'; accepted: a function"),
        ({"function": "no.such.module:f"}, "No module named 'no'"),
        ({"function": f"{__name__}:nothing"}, "has no attribute 'nothing'"),
        ({"function": f"{__name__}:RESULT"}, "which is none"),
        ({"function": f"{__name__}:says", "accuracy": {"map": 1.0}}, "found accuracy beside function"),
    ],
)
def test_a_function_that_is_not_there(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        validate(given, Objectives, "search.yaml: objectives")
