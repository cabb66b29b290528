"""What the latency model predicts for published rows, kept to the last digit in `tests/latency/published`.

    python benchmarks/golden_rows.py            # say which rows moved
    python benchmarks/golden_rows.py --write    # write graphs and predictions anew, on purpose

`graphs.tar.xz` holds every network that can be built without Ultralytics, as ONNX without weights; `predictions.json`
the latency of each row in ms. `tests/latency/test_published.py` predicts them anew. Networks are rebuilt and exported
into the folder of graphs once; their structure may change with the versions of torch, timm and torchvision.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from published import Graphs
from published_rows import predict_rows, read_rows

from bevlite.config import write_atomic

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "latency" / "published"


def archive(files: Mapping[str, Path]) -> bytes:
    """Graphs in one compressed archive, without names for people and times: the same graphs are the same bytes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, file in sorted(files.items()):
            data = _bare(file)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return lzma.compress(content.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _bare(file: Path) -> bytes:
    model = onnx.load(file)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="folder of exported graphs")
    parser.add_argument("--write", action="store_true", help="write graphs and predictions anew")
    options = parser.parse_args()
    graphs = Graphs(options.graphs)
    rows = [row for row in read_rows() if not row.network.startswith("ultralytics:")]
    predicted = predict_rows(rows, graphs.of)
    kept_file = FOLDER / "predictions.json"
    kept = json.loads(kept_file.read_text(encoding="utf-8")) if kept_file.is_file() else {}
    moved = [row for row in rows if kept.get(row.id) != predicted[row.id]]
    for row in moved:
        print(f"{row.id} {row.network} on {row.device}: {kept.get(row.id)} -> {predicted[row.id]!r} ms")
    print(f"{len(moved)} of {len(rows)} rows moved")
    if options.write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "graphs.tar.xz").write_bytes(archive({row.file: graphs.file_of(row) for row in rows}))
        write_atomic(kept_file, json.dumps(predicted, indent=0) + "\n")
        print(f"written: {FOLDER}")


if __name__ == "__main__":
    main()
