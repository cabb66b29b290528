"""A run: the folder with one trained variant and all that was made from it. Every file can be read without BEVLite."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bevlite.config import read_yaml, to_yaml, validate, write_atomic
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.variant import Variant

PACKAGES = ("bevlite", "torch", "lightning", "timm", "numpy", "nuscenes-devkit", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Run:
    """The folder of a run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where weights and training state lie."""
        return self.path / "checkpoints"

    @property
    def weights_file(self) -> Path:
        """Weights after the last finished epoch (the moving average, which is what is evaluated and exported)."""
        return self.checkpoints / "model.safetensors"

    def create(self, variant: Variant, data: DataConfig, recipe: Any, seed: int) -> None:
        """Write what defines the run.

        Raises:
            BevliteError: the folder already holds a run of another variant.
        """
        if (self.path / "variant.yaml").is_file():
            found = self.variant()
            if found.hash != variant.hash:
                raise BevliteError(
                    f"{self.path}: holds a run of another variant ({found.name}, hash {found.hash}); "
                    f"accepted: a new folder for {variant.name} (hash {variant.hash})"
                )
        write_atomic(self.path / "variant.yaml", to_yaml(variant))
        # From wherever the run is scored later, its data are where they were.
        rooted = data.model_copy(update={"root": str(Path(data.root).resolve())})
        write_atomic(self.path / "data.yaml", to_yaml(rooted))
        write_atomic(self.path / "recipe.yaml", to_yaml(recipe))
        write_atomic(self.path / "environment.json", json.dumps(environment(seed), indent=1) + "\n")

    def variant(self) -> Variant:
        """The variant of this run (raises ConfigError)."""
        file = self.path / "variant.yaml"
        if not self.path.is_dir() or not file.is_file():
            raise BevliteError(f"{self.path}: not a run folder (variant.yaml is missing)")
        return validate(read_yaml(file), Variant, str(file))

    def data(self) -> DataConfig:
        """The data that it was trained on (raises ConfigError)."""
        file = self.path / "data.yaml"
        return validate(read_yaml(file), DataConfig, str(file)).resolved()

    def weights(self, variant: Variant | None = None) -> dict[str, Tensor]:
        """The weights by name; with `variant`, they must be of that one.

        Raises:
            BevliteError: there are none, they cannot be read, or they belong to another variant.
        """
        if not self.weights_file.is_file():
            raise BevliteError(f"{self.weights_file}: no such checkpoint; accepted: a run with one finished epoch")
        meta = self.weights_meta()
        if variant is not None and meta.get("variant_hash") != variant.hash:
            raise BevliteError(
                f"{self.weights_file}: a checkpoint of another variant (hash {meta.get('variant_hash')}); "
                f"accepted: one of {variant.name} (hash {variant.hash})"
            )
        try:
            return load_file(self.weights_file)
        except (SafetensorError, OSError) as error:
            raise BevliteError(f"{self.weights_file}: the checkpoint cannot be read ({error})") from None

    def weights_meta(self) -> dict[str, Any]:
        """What is known of the weights: variant hash, epoch, step."""
        file = self.weights_file.with_suffix(".json")
        try:
            meta: dict[str, Any] = json.loads(file.read_text())
            return meta
        except (OSError, ValueError) as error:
            raise BevliteError(f"{file}: cannot be read ({error})") from None

    def record(self, stage: str, entry: dict[str, Any]) -> None:
        """Set the accuracy of one stage (float, onnx, ...) in the ledger."""
        file = self.path / "ledger.json"
        ledger = json.loads(file.read_text()) if file.is_file() else {}
        ledger[stage] = entry
        write_atomic(file, json.dumps(ledger, indent=1) + "\n")


def environment(seed: int) -> dict[str, Any]:
    """Versions, git commit (of the working directory, if any) and seed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    try:
        # Of BEVLite's own source tree, wherever the command was started.
        where = Path(__file__).resolve().parent
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False, cwd=where
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "git_commit": commit or None,
        "seed": seed,
    }
