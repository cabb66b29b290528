"""The documents of a package in Markdown: what it is, how it is called, what was optimised and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS = {
    "measured": "measured on a board",
    "emulated": "EMULATED: a rehearsal, which proves nothing of a board",
    "predicted": "predicted: nothing was measured",
}


def readme(manifest: Mapping[str, Any]) -> str:
    """What lies here, and the three commands that a colleague needs."""
    network, board = manifest["network"], manifest["board"]
    where = ", ".join(f"{key} {board[key]}" for key in ("sku", "jetpack", "tensorrt", "power_mode") if board.get(key))
    return f"""# {network["name"]}

A network for {where}, packed with all that it needs on the board: Python 3.8 or later with numpy, TensorRT's Python
package (`sudo apt install python3-libnvinfer python3-numpy`) and trtexec. No torch.

```
./check                      # whole? fits this board? builds engines, compares golden outputs, keeps its promise?
scripts/run                  # the samples of data/ through the network, a line of JSON a frame
scripts/benchmark            # milliseconds, step by step
scripts/monitor --minutes 60 # latency, power, temperature and clocks over time, with a page of curves
```

{_promises(manifest)}

| folder | what |
|---|---|
| `models/` | ONNX modules{", and the engines that the board built of them" if manifest["engines"] else ""} |
| `config.yaml`, `classes.json` | the network as a BEVLite variant, and the names of its classes |
| `lib/`, `scripts/` | the Python that runs on the board |
| `data/` | samples, with the outputs that ONNX Runtime gives |
| `docs/` | how the library is called (API.md), what was optimised and what it cost (OPTIMISED.md) |
| `manifest.json` | SHA-256 of every file, versions, limits, promises |

`./check` ends with 0: everything holds, on a real board. 1: something does not. 2: the package is damaged or was called
wrongly. 3: the board is emulated. It compares with the hashes of the manifest; who wrote the manifest is what a
signature says. Where there is one, look at it before anything of the package runs, with a file of signers of your own:

```
ssh-keygen -Y verify -f SIGNERS -I IDENTITY -n bevlite-package -s manifest.json.sig < manifest.json
```
"""


def _promises(manifest: Mapping[str, Any]) -> str:
    promise = manifest["promise"]
    lines = [f"**What it promises** ({KINDS[promise['kind']]}, device `{promise['device']}`):", ""]
    lines += ["| figure | value | of |", "|---|---|---|"]
    for name, row in promise["figures"].items():
        span = f" ({row['lower']:.3f} to {row['upper']:.3f})" if "lower" in row else ""
        lines.append(f"| {name} | {row['value']:.3f} {row['unit']}{span} | {row['of']} |")
    for name, value in manifest["limits"].items():
        lines.append(f"| limit: {name} | {value:g} | asked for when it was packed |")
    lines += ["", *(f"- {note}" for note in promise["notes"])]
    return "\n".join(lines).rstrip()


def api(manifest: Mapping[str, Any]) -> str:
    """How the library is called for this network."""
    sensors, tasks = manifest["sensors"], manifest["tasks"]
    cameras, lidar = sensors.get("cameras"), sensors.get("lidar")
    takes = []
    if cameras:
        takes += [
            f"- `images`: {len(cameras['names'])} arrays (height, width, 3) uint8 RGB, in this order: "
            + ", ".join(cameras["names"]) + f". Any size, if it is that of the calibration; the network sees "
            f"{cameras['height']} x {cameras['width']} px.",
            "- `calibration`: `Calibration(intrinsics (N, 3, 3), camera_to_bev (N, 4, 4), image_size)`. A new one is "
            "taken over with its frame.",
        ]  # fmt: skip
    if lidar:
        takes.append(
            f"- `points`: (K, 5) float32: x, y, z in the BEV frame (m), intensity 0..255, lag in s; {lidar['sweeps']} "
            f"sweeps, the newest first, compensated for the car's motion; at most {lidar['most_points']}."
        )
    if manifest["feeds"]:
        takes.append("- `ego_motion`: (4, 4), BEV frame of the frame before to this one's; None begins a sequence.")
    given = {
        "detection": "`found.detections`: `boxes` (K, 9) x, y, z, l, w, h, yaw, vx, vy, `scores`, `classes`, `names`",
        "occupancy": "`found.occupancy`: `values` (z, y, x) int32 classes, `names`",
        "map_segmentation": "`found.map`: `values` (classes, y, x) probabilities, `names`",
    }
    gives = [f"- {given.get(name, f'`found.found[{name!r}]`')}" for name in tasks]
    return "\n".join(
        [
            "# The network behind one call", "",
            "```python", "import sys", "", 'sys.path.insert(0, "lib")',
            "from bevlite.board.network import Calibration, Network", "",
            'network = Network(".")', f"found = network.infer({_arguments(manifest)})", "print(found.times_ms)", "```",
            "", "Frame: x forward, y left, z up, metres; the ego frame at the time of the LiDAR.", "",
            "Takes:", "", *takes, "", "Gives:", "", *gives,
            "- `found.maps`: the raw maps by name; `found.times_ms`: ms by step; `found.notes`: what was mended", "",
            "`Network(folder, in_flight=2)` with `submit(...)` and `collect()`: one frame is prepared while another is",
            "on the GPU. `mend=True`: a dark camera, points with NaN, too many points are left out, and `notes` says",
            "so; without it such a frame is refused by a `Fault` with one line, and the next frame may come.", "",
            "Images, pillars, tables and decoding run in numpy on the CPU of the board. That is slow: ten sweeps take",
            "tens of milliseconds. Engines run as CUDA graphs where they allow it.", "",
        ]
    )  # fmt: skip


def _arguments(manifest: Mapping[str, Any]) -> str:
    sensors = manifest["sensors"]
    names = ["images=images"] * ("cameras" in sensors) + ["points=points"] * ("lidar" in sensors)
    names += ["calibration=calibration"] * ("cameras" in sensors)
    return ", ".join([*names, *(["ego_motion=motion"] if manifest["feeds"] else [])])


def optimised(facts: Mapping[str, Any], ledger: str, over: Sequence[str]) -> str:
    """What was done to the network, and what it cost by the ledger."""
    lines = ["# What was optimised, and what it cost", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "## Accuracy from stage to stage", ""]
    lines += ["```", ledger, "```"] if ledger else ["Nothing was scored: what it cost is not known."]
    lines += ["", *(f"- {line}" for line in over)]
    return "\n".join(lines).rstrip() + "\n"
