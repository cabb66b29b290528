"""Which data a run reads: `data.yaml`, or simply the root of a nuScenes-format data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bevlite.config import Config, load_config, validate
from bevlite.errors import DataError

VERSIONS = ("v1.0-trainval", "v1.0-mini")
Version = Literal["v1.0-trainval", "v1.0-mini", "v1.0-test"]


class DataConfig(Config):
    """A nuScenes-format root. `version` and the splits default to what the root holds."""

    root: str
    version: Version | None = None
    train_split: str | None = None
    val_split: str | None = None

    def resolved(self) -> DataConfig:
        """With version and splits filled in.

        Raises:
            DataError: the root is missing, or holds no tables of a known version.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(f"{root}: no such data root; accepted: a folder in nuScenes format")
        found = [v for v in VERSIONS if (root / v / "sample.json").is_file()]
        version = self.version or (found[0] if found else None)
        if version is None or not (root / version / "sample.json").is_file():
            wanted = self.version or " or ".join(VERSIONS)
            raise DataError(f"{root}: holds no nuScenes tables ({wanted}/sample.json is missing)")
        mini = version == "v1.0-mini"
        return DataConfig(
            root=self.root,
            version=version,
            train_split=self.train_split or ("mini_train" if mini else "train"),
            val_split=self.val_split or ("mini_val" if mini else "val"),
        )


def load_data_config(path: str | Path) -> DataConfig:
    """A data YAML file, or the root of a data set, resolved (raises ConfigError and DataError)."""
    if str(path).endswith((".yaml", ".yml")):
        return load_config(path, DataConfig).resolved()
    return validate({"root": str(path)}, DataConfig, str(path)).resolved()


def split_scenes(split: str) -> list[str]:
    """Scene names of an official split (raises DataError for an unknown one)."""
    from nuscenes.utils.splits import create_splits_scenes  # loads the whole devkit, seconds that few commands need

    splits = create_splits_scenes()
    if split not in splits:
        raise DataError(f"split: found '{split}'; accepted: {', '.join(splits)}")
    return list(splits[split])
