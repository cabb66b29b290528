"""Which data a run reads: `data.yaml`, or simply the root of a nuScenes-format data set."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        mini, own = version == "v1.0-mini", own_splits(root / version)
        return DataConfig(
            root=self.root,
            version=version,
            train_split=self.train_split or _one_of(own, "train") or ("mini_train" if mini else "train"),
            val_split=self.val_split or _one_of(own, "val") or ("mini_val" if mini else "val"),
        )


def holds_tables(root: Path) -> bool:
    """Whether a folder is a data root: tables of a known version lie in it."""
    return any((root / version / "sample.json").is_file() for version in VERSIONS)


def load_data_config(path: str | Path) -> DataConfig:
    """A data YAML file, or the root of a data set, resolved (raises ConfigError and DataError)."""
    if str(path).endswith((".yaml", ".yml")):
        return load_config(path, DataConfig).resolved()
    return validate({"root": str(path)}, DataConfig, str(path)).resolved()


SPLITS_FILE = "splits.json"
"""Scene lists of one's own, beside the tables: the devkit reads the same file."""


def own_splits(tables: Path) -> dict[str, list[str]]:
    """Scene names by split of the root's own `splits.json`; none without one.

    Args:
        tables: the folder of the tables.

    Raises:
        DataError: it is no mapping from names to lists of scene names.
    """
    file = tables / SPLITS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{file}: not readable as JSON ({reason}); accepted: lists of scene names by split") from None
    fits = isinstance(content, dict) and all(
        isinstance(scenes, list) and all(isinstance(scene, str) for scene in scenes) for scenes in content.values()
    )
    if not fits:
        raise DataError(f'{file}: accepted: lists of scene names by split, {{"my_train": ["scene-a"], ...}}')
    return content


def _one_of(splits: Mapping[str, list[str]], word: str) -> str | None:
    """The only split of one's own that has a word in its name."""
    found = [name for name in splits if word in name]
    return found[0] if len(found) == 1 else None


def split_scenes(split: str, own: Mapping[str, list[str]] | None = None) -> list[str]:
    """Scene names of a split: an official one, or one of the root's own (raises DataError for an unknown one)."""
    from nuscenes.utils.splits import create_splits_scenes  # loads the whole devkit, seconds that few commands need

    splits = create_splits_scenes()
    if split in splits:  # as in the devkit: what is official stays so
        return list(splits[split])
    if own is not None and split in own:
        return list(own[split])
    raise DataError(f"split: found '{split}'; accepted: {', '.join((*splits, *(own or ())))}")
