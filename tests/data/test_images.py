"""What is decoded, and what is refused before anything of its size is allocated."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bevlite.data.images import read_image
from bevlite.errors import DataError


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("guard", [True, False])  # the devkit switches Pillow's own guard off
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (9_000, 9_000), (2_000_000, 1_000)])
def test_claims_of_gigapixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int, guard: bool
) -> None:
    if not guard:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    file = tmp_path / "camera.jpg"
    file.write_bytes(png(width, height))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"camera\.jpg: the image claims .*; accepted: at most 64000000 pixels"):
        read_image(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_an_image_of_a_camera_is_read_and_half_of_one_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    file = tmp_path / "camera.png"
    Image.fromarray(pixels).save(file)
    assert np.array_equal(np.asarray(read_image(file)), pixels)
    whole = file.read_bytes()
    for cut in (0, 10, 40, len(whole) // 2):
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="cannot be decoded"):
            read_image(file)
    with pytest.raises(DataError, match="is missing"):
        read_image(tmp_path / "nothing.jpg")
