"""What trainings gave, in a folder that searches share: another budget, board or floor uses every curve again.

One JSON file a network, in a folder a data set and recipe. Budgets, devices and precision are not in its key: training
does not see them. Networks that began from the weights of another one are not kept, nor is what INT8 left of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bevlite.config import as_dict, stable_hash, write_atomic
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.locks import FileLock
from bevlite.training.recipe import Recipe

ELSEWHERE = -1
"""Where a trial was trained whose results are those of another study: its weights are not here."""
NOT_TRAINING = ("workers", "save_every_s")
"""Keys of a recipe that change no weight."""
CAME_LATER = ("teacher", "only")
"""Keys that a recipe of before does not have: null says the same."""
Curve = dict[int, dict[str, Any]]
"""Scores by epoch."""


def trained_by(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe changes a training."""
    said = {key: value for key, value in recipe.items() if key not in NOT_TRAINING}
    return {key: value for key, value in said.items() if value is not None or key not in CAME_LATER}


class Curves:
    """The curves of one data set and recipe.

    Args:
        folder: of all curves.
        data: what is learnt from.
        fingerprint: of its tables.
        recipe: how.

    Raises:
        BevliteError: a folder that cannot be made or written.
    """

    def __init__(self, folder: Path, data: DataConfig, fingerprint: str, recipe: Recipe) -> None:
        key = {"data": as_dict(data) | {"root": fingerprint}, "recipe": trained_by(as_dict(recipe))}
        self._folder = folder / stable_hash(key)
        try:
            if not (self._folder / "of.json").is_file():
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomic(self._folder / "of.json", json.dumps(key, indent=1) + "\n")
        except OSError as error:
            raise BevliteError(
                f"known: found {folder} ({error.strerror}); accepted: a folder that can be written"
            ) from None

    def of(self, network_hash: str) -> Curve:
        """Scores of a network by epoch; empty where none is known.

        Raises:
            BevliteError: a file that cannot be read.
        """
        file = self._file(network_hash)
        if not file.is_file():
            return {}
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            found = {int(epoch): score for epoch, score in held["rungs"].items()}
            if not all(float(score["accuracy"]) == score["accuracy"] and score["metrics"] for score in found.values()):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BevliteError(
                f"{file}: cannot be read; accepted: as a search writes it (remove the file: that network is trained "
                "again)"
            ) from None
        return found

    def keep(self, network_hash: str, epoch: int, score: Mapping[str, Any], where: str) -> None:
        """Keep the score of an epoch; `where` it was trained, in words."""
        with FileLock(self._folder / ".lock"):
            rungs = {**self.of(network_hash), epoch: dict(score)}
            content = {"rungs": {str(number): rungs[number] for number in sorted(rungs)}, "where": where}
            write_atomic(self._file(network_hash), json.dumps(content, indent=1) + "\n")

    def all(self) -> dict[str, Curve]:
        """Every curve by the hash of its network (raises BevliteError)."""
        names = sorted(file.stem for file in self._folder.glob("*.json") if file.stem != "of")
        return {name: self.of(name) for name in names}

    def _file(self, network_hash: str) -> Path:
        return self._folder / f"{network_hash}.json"
