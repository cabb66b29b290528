"""The errors that a user can cause, and mend: one line each, never a traceback."""

from __future__ import annotations


class BevliteError(Exception):
    """Something the user can mend. The message is one line that says what is wrong, where, and what would do.

    The command line prints it as ``error: <message>`` and exits with `exit_code`.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        # A loader process hands its error over as the text of a traceback: the line that counts is the last.
        if "Original Traceback" in message:
            message = message.strip().splitlines()[-1].partition("Error: ")[2] or message
        super().__init__(message)


class ConfigError(BevliteError):
    """A configuration that cannot be accepted: names file, key, what was found and what is accepted."""


class DataError(BevliteError):
    """Input data that cannot be used: names the file or sample and what is wrong with it."""


class NothingFound(DataError):
    """A network found nothing at all, so that there is nothing to score: the fault of the network, not of the data."""


class TrainingError(BevliteError):
    """A training run that had to stop (NaN loss, unusable checkpoint, ...)."""


class ExportError(BevliteError):
    """A network that cannot be exported, or an ONNX file that TensorRT would refuse or run wrongly."""
