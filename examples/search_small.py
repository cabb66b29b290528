"""A search of two small networks on a small world: the most accurate one within a latency budget.

python examples/search_small.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import bevlite
from search import run_search, search_winner

SEARCH = Path(__file__).resolve().parents[1] / "configs" / "searches" / "demo.yaml"
SHORT = ["sampler=tpe", "fidelity.rungs=[1]"]


def main(folder: Path) -> None:
    """Search in a folder; a study that is there already is gone on with."""
    world = folder / "world"
    bevlite.synthesize(world, scenes=3, samples=2, sweeps=1, image_scale=0.1, workers=1)
    study = run_search(SEARCH, folder / "study", budget_ms=10, trials=2, data=str(world), overrides=SHORT)
    for trial in study.outcome.records:
        print(f"trial {trial.number}: {trial.state} {trial.reason}")
    winner = search_winner(folder / "study")
    if winner is None:
        print("no network is within the budget")
        return
    print(f"winner: trial {winner.trial.number}, {winner.trial.latency_ms:.2f} ms, its run: {winner.run}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work_dirs/examples"))
