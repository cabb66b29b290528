"""A program for the board of a test: a network with a past gives the same with one and with two frames in flight."""

import json
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "lib")

import numpy as np  # noqa: E402

from bevlite.board.network import Network  # noqa: E402
from bevlite.board.samples import read_samples  # noqa: E402


def maps_of(in_flight):
    with Network(".", in_flight=in_flight) as network:
        samples = read_samples(network.package)
        given = [samples[0].given, *[dict(samples[1].given) for _ in range(3)]]
        # The calibration changes in the middle: tables are made anew for every slot.
        moved = given[2]["calibration"]
        poses = moved.camera_to_bev.copy()
        poses[:, 0, 3] += 0.8
        given[2]["calibration"] = moved._replace(camera_to_bev=poses)
        found = []
        for number, frame in enumerate(given):
            network.submit(**frame)
            if number >= in_flight - 1:
                found.append(network.collect())
        while len(found) < len(given):
            found.append(network.collect())
        return found


one, two = maps_of(1), maps_of(2)
same = all(np.array_equal(a.maps[name], b.maps[name]) for a, b in zip(one, two, strict=True) for name in a.maps)
changes = [list(result.notes) for result in one]
differs = [any(not np.array_equal(one[1].maps[n], r.maps[n]) for n in r.maps) for r in one]
print(json.dumps({"same": same, "notes": changes, "two": [list(r.notes) for r in two], "differs": differs}))
