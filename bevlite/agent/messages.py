"""Messages between host and agent: JSON with an optional blob, each with its length and checksum."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import IO, Any, Dict

MAGIC = b"\n=BEVLITE-AGENT-1=\n"
"""Written by the agent first: a login script may print something before it."""
CHUNK = 1 << 20
"""Bytes of a file in one message."""
LARGEST_TEXT = 64 << 20
LARGEST_BLOB = 16 << 20
_HEADER = struct.Struct(">II32s")

Message = Dict[str, Any]


class MessageError(Exception):
    """What was read is no message: cut off, changed on the way, or something else altogether."""


class EndOfStream(MessageError):
    """The other side is gone; nothing of a message was read."""


def write_message(stream: IO[bytes], message: Message, blob: bytes = b"") -> None:
    """Write one message whole (raises OSError when the other side is gone)."""
    text = json.dumps(message, allow_nan=False).encode()
    stream.write(_HEADER.pack(len(text), len(blob), hashlib.sha256(text + blob).digest()) + text + blob)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Message, bytes]:
    """Read one message.

    Raises:
        EndOfStream: the stream ended between two messages.
        MessageError: it ended within one, or the message does not match its checksum.
    """
    head = stream.read(_HEADER.size)
    if not head:
        raise EndOfStream("the stream ended")
    if len(head) < _HEADER.size:
        raise MessageError("cut off within a header")
    text_size, blob_size, digest = _HEADER.unpack(head)
    if text_size > LARGEST_TEXT or blob_size > LARGEST_BLOB:
        raise MessageError("no message of this protocol")
    body = stream.read(text_size + blob_size)
    if len(body) < text_size + blob_size:
        raise MessageError("cut off within a message")
    if hashlib.sha256(body).digest() != digest:
        raise MessageError("a message does not match its checksum")
    message = json.loads(body[:text_size].decode())
    if not isinstance(message, dict):
        raise MessageError("a message that is no mapping")
    return message, body[text_size:]
