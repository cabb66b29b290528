"""One process at a time on the GPU."""

from __future__ import annotations

import fcntl


class GPULock:
    """A file lock that the process may ask for again while it holds it; it goes when the process ends."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w")  # noqa: SIM115 (held as long as the process lives)
        self.held = False

    def acquire(self) -> None:
        if not self.held:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.held = True

    def synchronize_and_release(self) -> None:
        """Give it back when the GPU has done all that was started."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.release()

    def release(self) -> None:
        if self.held:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.held = False
