"""BEV maps that another network made of the same samples: what a stream can be taught with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bevlite.data.frame import Frame, Reader
from bevlite.errors import DataError

if TYPE_CHECKING:  # loads the devkit, and recipes are read without
    from bevlite.data.index import Index

MAP, TURN = "teacher_map", "teacher_bev"
LIDAR_MAP = "lidar_map"
"""What is taught, and its loss: the BEV map of the LiDAR stream."""


class TeacherMaps(Reader):
    """A map a sample: `<token>.npy`, (C, ny, nx) of the BEV grid, float16 or float32, of the sample as it is.

    Gives the map and how the sample was augmented: `teacher_map` (C, ny, nx) and `teacher_bev` (4, 4), ego frame to the
    augmented one.
    """

    def __init__(self, folder: str | Path, shape: tuple[int, int, int]) -> None:
        self._folder, self._shape = Path(folder), shape

    def check(self, root: Path, index: Index, rows: np.ndarray) -> None:
        """Every sample has its file, and the first one is a map of this grid."""
        if not self._folder.is_dir():
            raise DataError(f"teacher: found no folder {self._folder}; accepted: a folder of maps, <sample token>.npy")
        there = {file.stem for file in self._folder.glob("*.npy")}
        missing = [str(index.tokens[row]) for row in rows if str(index.tokens[row]) not in there]
        if missing:
            raise DataError(
                f"{self._folder}: found no map of {len(missing)} of {len(rows)} samples, the first {missing[0]}.npy; "
                "accepted: one of each sample that is trained on"
            )
        if len(rows):
            self._read(str(index.tokens[rows[0]]))

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The map of one sample (raises DataError)."""
        found = self._read(str(frame.index.tokens[frame.row]))
        return {MAP: found, TURN: frame.bev.astype(np.float32)}

    def _read(self, token: str) -> np.ndarray:
        file = self._folder / f"{token}.npy"
        try:
            found: np.ndarray = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{file}: cannot be read ({error}); accepted: an array as numpy.save writes it") from None
        if found.shape != self._shape or found.dtype not in (np.float16, np.float32):
            size = " x ".join(map(str, found.shape))
            wanted = " x ".join(map(str, self._shape))
            raise DataError(
                f"{file}: found {size} of {found.dtype}; accepted: {wanted} (channels and cells of the LiDAR stream), "
                "float16 or float32"
            )
        if not np.isfinite(found).all():
            raise DataError(f"{file}: found NaN or infinity; accepted: finite values")
        return found
