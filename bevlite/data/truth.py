"""Truth that several tasks and parts are taught with: boxes, occupancy, map, depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bevlite.data.augment import transform_boxes
from bevlite.data.frame import Frame, Need, Ragged, Reader
from bevlite.data.lidar import depth_map
from bevlite.data.occupancy import read_occupancy, transform_occupancy
from bevlite.data.vector_map import draw_map, map_file, read_vector_map
from bevlite.errors import DataError

if TYPE_CHECKING:  # loads the devkit
    from bevlite.data.index import Index


BOXES, LABELS = "boxes", "labels"
"""What a batch calls the annotations."""
PROJECTION = "ego_to_pixel"
"""What a batch calls the projections into its images."""
MAP_TRUTH = "map_truth"
"""What a batch calls the classes of the map."""


class BoxTruth(Reader):
    """`boxes` (K, 9) float32 in the BEV frame and `labels` (K,) int64, padded with zeros and -1."""

    ragged = {BOXES: Ragged(0, 0.0), LABELS: Ragged(0, -1)}

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The annotations that can be learnt: of a detection class, and with at least one LiDAR point."""
        index = frame.index
        start, stop = index.box_start[frame.row : frame.row + 2]
        keep = index.usable_boxes(frame.row)
        return {
            BOXES: transform_boxes(index.boxes[start:stop][keep], frame.bev).astype(np.float32),
            LABELS: index.box_classes[start:stop][keep].astype(np.int64),
        }


class ProjectionTruth(Reader):
    """`ego_to_pixel` (N, 4, 4) float32: ego frame in m to the network's images, (u * depth, v * depth, depth, 1)."""

    needs = frozenset({"images"})

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """Of every camera."""
        assert frame.pixel_to_bev is not None
        return {PROJECTION: (np.linalg.inv(frame.pixel_to_bev) @ frame.bev).astype(np.float32)}


class OccupancyTruth(Reader):
    """`occupancy` (200 x, 200 y, 16 z) uint8 and `occupancy_mask`, what a camera sees, from Occ3D labels."""

    def check(self, root: Path, index: Index, rows: np.ndarray) -> None:
        """Every sample needs its labels."""
        if not all(index.occupancy_files[rows]):
            missing = index.tokens[rows][index.occupancy_files[rows] == ""][0]
            raise DataError(
                f"{root}: the variant has an occupancy head and sample {missing} has no labels "
                f"(gts/<scene>/{missing}/labels.npz); accepted: a root with Occ3D labels, or heads.occupancy: null"
            )

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """Labels and mask, moved along with the augmentation."""
        semantics, mask = read_occupancy(frame.root / str(frame.index.occupancy_files[frame.row]))
        semantics, mask = transform_occupancy(semantics, mask, frame.bev)
        return {"occupancy": semantics, "occupancy_mask": mask}


class MapTruth(Reader):
    """`map_truth` (6, 200 y, 200 x) uint8: what each class of `MAP_CLASSES` covers of `MAP_GRID`, from vector maps."""

    def check(self, root: Path, index: Index, rows: np.ndarray) -> None:
        """Every sample needs the vector map of its location, and that can be read."""
        files = index.map_files[rows]
        if not all(files):
            scene = index.scenes[rows][files == ""][0]
            raise DataError(
                f"{root}: the variant has a map segmentation head and {scene} has no vector map "
                f"({map_file('<location of its log>')}); accepted: a root with the nuScenes map expansion, or "
                "heads.map_segmentation: null"
            )
        for file in sorted(set(files.tolist())):
            read_vector_map(root / file)

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The classes around the car, moved along with the augmentation."""
        shapes = read_vector_map(frame.root / str(frame.index.map_files[frame.row]))
        return {MAP_TRUTH: draw_map(shapes, frame.bev @ np.linalg.inv(frame.index.ego_to_global[frame.row]))}


@dataclass(frozen=True)
class DepthTruth(Reader):
    """`depth` (N, h, w) float32 m: nearest return of the keyframe's own sweep in each patch of `stride` px, or 0."""

    stride: int
    needs: frozenset[Need] = frozenset({"images", "points"})

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """Depth of every feature pixel."""
        assert frame.points is not None and frame.pixel_to_bev is not None and frame.image_size is not None
        keyframe = frame.points[frame.points[:, 4] == 0][:, :3]
        return {"depth": depth_map(keyframe, np.linalg.inv(frame.pixel_to_bev), frame.image_size, self.stride)}
