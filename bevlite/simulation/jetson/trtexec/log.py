"""What trtexec prints: prefixes, streams, and the marks of success and failure."""

from __future__ import annotations

import sys
import time

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.releases import Release

PROGRAM = "/usr/src/tensorrt/bin/trtexec"


class Failure(Exception):
    """The run ends with FAILED and exit code 1. `lines` are printed as errors first."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def number(value: float) -> str:
    """A float as a C++ stream prints it: 6 significant digits."""
    return f"{value:g}"


class Log:
    """Information goes to stdout, warnings and errors to stderr."""

    def __init__(self, board: BoardFolder, release: Release, arguments: list[str], verbose: bool = False) -> None:
        self.board = board
        self.verbose_on = verbose
        bracket = f" [b{release.build}]" if release.build is not None else ""
        self.mark = f"TensorRT.trtexec [TensorRT v{release.number}]{bracket} # {' '.join([PROGRAM, *arguments])}"

    def _print(self, severity: str, text: str) -> None:
        stream = sys.stdout if severity in "IV" else sys.stderr
        sys.stdout.flush()
        stamp = time.strftime("%m/%d/%Y-%H:%M:%S", time.localtime(self.board.now()))
        print(f"[{stamp}] [{severity}] {text}", file=stream, flush=True)

    def info(self, *lines: str) -> None:
        """Lines of trtexec itself."""
        for text in lines or ("",):
            self._print("I", text)

    def library(self, *lines: str) -> None:
        """Lines of the TensorRT library."""
        for text in lines:
            self._print("I", f"[TRT] {text}")

    def verbose(self, text: str) -> None:
        """A line that only --verbose shows."""
        if self.verbose_on:
            self._print("V", text)

    def warn(self, *lines: str) -> None:
        """Warnings."""
        for text in lines:
            self._print("W", text)

    def error(self, *lines: str) -> None:
        """Errors."""
        for text in lines:
            self._print("E", text)

    def plain(self, text: str) -> None:
        """A line without a prefix on stdout."""
        print(text, flush=True)

    def start(self) -> None:
        """The first line, and the line that says what this is."""
        self.plain(f"&&&& RUNNING {self.mark}")
        self.info("EMULATED: bevlite emulator, no GPU; times come from a model and are not measurements")

    def end(self, passed: bool) -> int:
        """The last line; returns the exit code."""
        self.plain(f"&&&& {'PASSED' if passed else 'FAILED'} {self.mark}")
        return 0 if passed else 1
