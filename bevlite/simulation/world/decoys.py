"""What has the shape of an object and is none: the object's own mesh and reflectivity in other paint.

A LiDAR cannot tell them apart. In an image, colour does: cones are orange with white bands and posts are plain,
barriers are striped or bright and walls are dull, people wear clothes and statues are of one stuff, vehicles have
wheels, glass and lamps and a container is of one colour all over.
"""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world import materials as m
from bevlite.simulation.world.mesh import Colour, Mesh

FAMILY = {
    "traffic_cone": "post",
    "barrier": "wall",
    "pedestrian": "statue",
    "truck": "container",
    "bus": "container",
    "trailer": "container",
}
_PAINTS: dict[str, tuple[tuple[Colour, int], ...]] = {
    "post": (
        ((0.08, 0.08, 0.09), m.PLAIN),
        ((0.42, 0.43, 0.44), m.PLAIN),
        ((0.10, 0.24, 0.15), m.PLAIN),
        ((0.62, 0.60, 0.56), m.STONE),
        ((0.12, 0.18, 0.36), m.PLAIN),
    ),
    "wall": (
        ((0.50, 0.49, 0.46), m.STONE),
        ((0.34, 0.33, 0.32), m.STONE),
        ((0.42, 0.24, 0.18), m.BRICK),
        ((0.30, 0.21, 0.13), m.PLAIN),
        ((0.14, 0.26, 0.10), m.FOLIAGE),
    ),
    "statue": (
        ((0.52, 0.51, 0.48), m.STONE),
        ((0.20, 0.19, 0.13), m.PLAIN),
        ((0.24, 0.36, 0.31), m.STONE),
        ((0.84, 0.83, 0.80), m.PLAIN),
    ),
    "container": (
        ((0.48, 0.17, 0.10), m.RIBS),
        ((0.12, 0.22, 0.40), m.RIBS),
        ((0.16, 0.32, 0.20), m.RIBS),
        ((0.36, 0.33, 0.29), m.RIBS),
    ),
}


def disguise(name: str, mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh of an object of class `name` in the paint of its decoys: same triangles, same reflectivity."""
    paints = _PAINTS[FAMILY[name]]
    colour, material = paints[int(rng.integers(len(paints)))]
    shade = np.clip(np.array(colour) * rng.uniform(0.85, 1.15) + rng.normal(0, 0.01, 3), 0.03, 0.9)
    count = len(mesh.triangles)
    return Mesh(
        mesh.triangles,
        np.full(count, material, dtype=np.int32),
        np.broadcast_to(shade.astype(np.float32), (count, 3)).copy(),
        mesh.reflectivity,
    )
