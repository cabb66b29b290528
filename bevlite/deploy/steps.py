"""Steps of a deploy that are kept until it is finished, so that an interrupted one goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bevlite.config import Config, write_atomic

C = TypeVar("C", bound=Config)


class KeptSteps:
    """Results of finished steps in a folder; those of another identity (files, board, versions) are thrown away."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        self.said: list[str] = []
        text = json.dumps(dict(identity), sort_keys=True, indent=1) + "\n"
        file = folder / "identity.json"
        if not file.is_file() or file.read_text() != text:
            self.discard()
            write_atomic(file, text)

    def once(
        self, name: str, kind: type[C], work: Callable[[], C], keep: Callable[[C], bool] = lambda result: True
    ) -> C:
        """The result of a step: of the interrupted deploy, or of `work`, which is kept if `keep` says so."""
        file = self._folder / f"{name}.json"
        if file.is_file():
            self.said.append(f"{name}: kept from an interrupted deploy")
            return kind.model_validate_json(file.read_text())
        result = work()
        if keep(result):
            write_atomic(file, result.model_dump_json() + "\n")
        self.said.append(f"{name}: done")
        return result

    def discard(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
