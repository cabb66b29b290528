"""A run: the folder with one trained variant and all that was made from it. Every file can be read without BEVLite."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bevlite.config import read_yaml, to_yaml, validate, write_atomic
from bevlite.custom_imports import require_outside
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.source_tree import source_commit
from bevlite.variant import Variant, variant_from

Stage = Literal["float", "pruned", "finetuned", "calibration", "qat"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""What the weights of a run go through, in this order."""
FLOAT: Stage = "float"
QUANTIZED: tuple[Stage, ...] = ("calibration", "qat")
"""Stages whose weights come with scales."""
INTEGER = "int"
"""The quantized stage that stands last, as what runs on integers."""
INNER: dict[Stage, str] = {"finetuned": "finetune", "qat": "qat"}
"""Folders inside a run in which its network is trained on into a stage: runs of their own."""
IMPORTED = "imported"
"""Under which name what is known of weights says where they come from, when we did not train them."""
FORMER = "model"
"""Under which name runs of earlier versions keep the weights of the stage `float`."""
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
    def stages(self) -> tuple[Stage, ...]:
        """The stages that it holds weights of, in their order."""
        return tuple(stage for stage in STAGES if self.weights_file(stage).is_file())

    @property
    def stage(self) -> Stage:
        """The last stage that it holds weights of; `float` before there are any."""
        return (FLOAT, *self.stages)[-1]

    def chosen(self, stage: str | None) -> Stage:
        """The stage of that name, by default the last one; `int` is the last quantized one.

        Raises:
            BevliteError: there are no weights of it.
        """
        if stage is None:
            return self.stage
        quantized = [held for held in self.stages if held in QUANTIZED]
        if stage == INTEGER and quantized:
            return quantized[-1]
        for held in self.stages:
            if held == stage:
                return held
        accepted = ", ".join(self.stages) or "a run with one finished epoch"
        raise BevliteError(f"{self.path}: stage: found '{stage}'; accepted: {accepted}")

    def weights_file(self, stage: Stage | None = None) -> Path:
        """Weights of a stage, by default of the last one (of `float` the moving average)."""
        stage = stage or self.stage
        former = self.checkpoints / f"{FORMER}.safetensors"
        file = self.checkpoints / f"{stage}.safetensors"
        return former if stage == FLOAT and former.is_file() and not file.is_file() else file

    def save_stage(self, stage: Stage, weights: bytes, variant: Variant, meta: Mapping[str, Any]) -> None:
        """Keep the weights of a stage (safetensors), the variant that they belong to, and what is known of them."""
        file = self.checkpoints / f"{stage}.safetensors"
        if stage != FLOAT:
            write_atomic(file.with_suffix(".yaml"), to_yaml(variant))
        write_atomic(file, weights)
        content = {"network_hash": variant.network_hash, **meta}
        write_atomic(file.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
        if stage == FLOAT:
            for former in self.checkpoints.glob(f"{FORMER}.*"):
                former.unlink()

    def forget(self, *stages: Stage) -> None:
        """Remove the weights of stages, what they were trained in and scored, and their lines in the ledger."""
        for stage in stages:
            if stage in INNER:
                shutil.rmtree(self.path / INNER[stage], ignore_errors=True)
            for file in self.checkpoints.glob(f"{stage}.*"):
                file.unlink()
        self.forget_figures(*stages)

    def forget_figures(self, *stages: Stage) -> None:
        """Remove what stages scored, and their lines in the ledger."""
        for stage in stages:
            for folder in (*self.path.glob(f"eval/*-{stage}"), *self.path.glob(f"eval/*-{stage}-without-*")):
                shutil.rmtree(folder)
        file = self.path / "ledger.json"
        if file.is_file():
            ledger = json.loads(file.read_text())
            kept = {line: entry for line, entry in ledger.items() if line.split("/")[0] not in stages}
            write_atomic(file, json.dumps(kept, indent=1) + "\n")

    def create(self, variant: Variant, data: DataConfig, recipe: Any, seed: int) -> None:
        """Write what defines the run.

        Raises:
            BevliteError: the folder already holds a run of another network. Another precision plan is taken over.
            ConfigError: a file with parts of the network lies in the folder, which would not be opened again.
        """
        require_outside(variant.custom_imports, self.path, f"{variant.name}: custom_imports")
        if (self.path / "variant.yaml").is_file():
            found = self.variant(FLOAT)
            if found.network_hash != variant.network_hash:
                raise BevliteError(
                    f"{self.path}: holds a run of another network ({found.name}, hash {found.network_hash}); "
                    f"accepted: a new folder for {variant.name} (hash {variant.network_hash})"
                )
        write_atomic(self.path / "variant.yaml", to_yaml(variant))
        # From wherever the run is scored later, its data are where they were.
        rooted = data.model_copy(update={"root": str(Path(data.root).resolve())})
        write_atomic(self.path / "data.yaml", to_yaml(rooted))
        write_atomic(self.path / "recipe.yaml", to_yaml(recipe))
        write_atomic(self.path / "environment.json", json.dumps(environment(seed), indent=1) + "\n")

    def variant(self, stage: Stage | None = None) -> Variant:
        """The variant of a stage, by default of the last one (raises ConfigError)."""
        file = self.path / "variant.yaml"
        if not self.path.is_dir() or not file.is_file():
            raise BevliteError(f"{self.path}: not a run folder (variant.yaml is missing)")
        own = self.checkpoints / f"{stage or self.stage}.yaml"
        file = own if own.is_file() else file
        return variant_from(read_yaml(file), str(file), self.path)

    def data(self) -> DataConfig:
        """The data that it was trained on (raises ConfigError, BevliteError when none are named)."""
        file = self.path / "data.yaml"
        if not file.is_file():
            raise BevliteError(
                f"{self.path}: names no data (data.yaml is missing); accepted: a run that was trained, or imported "
                "with --data"
            )
        return validate(read_yaml(file), DataConfig, str(file)).resolved()

    def weights(self, variant: Variant | None = None, stage: Stage | None = None) -> dict[str, Tensor]:
        """The weights of a stage by name, by default of the last one; with `variant`, they must be of its network.

        Raises:
            BevliteError: there are none, they cannot be read, or they belong to another network.
        """
        file = self.weights_file(stage)
        if not file.is_file():
            raise BevliteError(f"{file}: no such checkpoint; accepted: a run with one finished epoch")
        meta = self.weights_meta(stage)
        if variant is not None:
            # Weights of earlier versions do not say their network: it is that of the run.
            found = meta.get("network_hash") or self.variant(stage).network_hash
            if found != variant.network_hash:
                raise BevliteError(
                    f"{file}: a checkpoint of another network (hash {found}); "
                    f"accepted: one of {variant.name} (hash {variant.network_hash})"
                )
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise BevliteError(f"{file}: the checkpoint cannot be read ({error})") from None

    def weights_meta(self, stage: Stage | None = None) -> dict[str, Any]:
        """What is known of the weights of a stage: network hash, epoch, step."""
        file = self.weights_file(stage).with_suffix(".json")
        try:
            meta: dict[str, Any] = json.loads(file.read_text())
            return meta
        except (OSError, ValueError) as error:
            raise BevliteError(f"{file}: cannot be read ({error})") from None

    def scales(self, stage: Stage | None = None) -> dict[str, float] | None:
        """The largest value that INT8 holds at each point of quantization, of a quantized stage; None for others."""
        if (stage or self.stage) not in QUANTIZED:
            return None
        found = self.weights_meta(stage).get("scales")
        if not isinstance(found, dict) or not all(isinstance(v, (int, float)) and v > 0 for v in found.values()):
            file = self.weights_file(stage).with_suffix(".json")
            raise BevliteError(f"{file}: scales: found none, or some that are not above 0; accepted: a number a point")
        return {str(point): float(value) for point, value in found.items()}

    def record(self, line: str, entry: dict[str, Any]) -> None:
        """Set the accuracy of one stage, or of a stage on another backend (float, onnx, pruned, ...), in the ledger."""
        file = self.path / "ledger.json"
        ledger = json.loads(file.read_text()) if file.is_file() else {}
        ledger[line] = entry
        write_atomic(file, json.dumps(ledger, indent=1) + "\n")


def environment(seed: int) -> dict[str, Any]:
    """Versions, git commit (of BEVLite's own source tree, if any) and seed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "git_commit": source_commit(),
        "seed": seed,
    }
