from __future__ import annotations

import pytest

from bevlite.errors import BevliteError
from search.space.objectives import Objectives, Score

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
