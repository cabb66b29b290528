"""A package on disk: its manifest, and whether every file is what the manifest says."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Iterator

from bevlite.agent.fault import Fault

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
FORMAT = 1
STRICT = ("lib", "scripts")
"""Folders that may hold no file that the manifest does not name: what lies there would run."""
IMMOVABLE = "unpack the package again"


class Package:
    """The folder of a package. `manifest` is its content as plain JSON."""

    def __init__(self, root: str) -> None:
        """Read the manifest (raises Fault `package_damaged`)."""
        self.root = os.path.abspath(root)
        path = os.path.join(self.root, MANIFEST)
        try:
            with open(path, encoding="utf-8") as stream:
                manifest = json.load(stream)
        except FileNotFoundError:
            raise _damaged(f"{path}: no such file; accepted: the folder of a package") from None
        except (OSError, ValueError) as error:
            raise _damaged(f"{path}: cannot be read ({error})") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise _damaged(f"{path}: not the manifest of a package")
        if manifest.get("format") != FORMAT:
            found = manifest.get("format")
            raise _damaged(f"{path}: format: found {found!r}; accepted: {FORMAT}, or the scripts of its own package")
        self.manifest: dict[str, Any] = manifest

    @property
    def name(self) -> str:
        """Of the network."""
        return str(self.manifest["network"]["name"])

    @property
    def identity(self) -> str:
        """Hash of the manifest, and by it of every file."""
        return sha256_of(os.path.join(self.root, MANIFEST))

    def path(self, name: str) -> str:
        """Where a file of the manifest lies (raises Fault for a name that leads outside)."""
        parts = name.split("/")
        if os.path.isabs(name) or ".." in parts or name not in self.manifest["files"]:
            raise _damaged(f"{MANIFEST}: found the file name '{name[:80]}'; accepted: files of the package")
        return os.path.join(self.root, *parts)

    def require(self, name: str) -> str:
        """The path of one file, whose bytes are what they were (raises Fault `package_damaged`)."""
        path, wanted = self.path(name), self.manifest["files"][name]["sha256"]
        try:
            found = sha256_of(path)
        except OSError as error:
            raise _damaged(f"{name}: {error.strerror}") from None
        if found != wanted:
            raise _damaged(f"{name}: its bytes changed (SHA-256 {found[:12]}, {wanted[:12]} in the manifest)")
        return path

    def problems(self) -> Iterator[str]:
        """One line for every file that is missing, changed, or one too many where programs lie."""
        for name in sorted(self.manifest["files"]):
            try:
                self.require(name)
            except Fault as fault:
                yield fault.message
        for folder in STRICT:
            for here, _, names in os.walk(os.path.join(self.root, folder)):
                for name in sorted(names):
                    path = os.path.relpath(os.path.join(here, name), self.root).replace(os.sep, "/")
                    if path not in self.manifest["files"]:
                        yield f"{path}: a file that the manifest does not name"


def sha256_of(path: str) -> str:
    """Of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _damaged(message: str) -> Fault:
    return Fault("package_damaged", message, fix=IMMOVABLE)
