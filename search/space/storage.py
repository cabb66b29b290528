"""The URL of a study's database: a password in it is used, and never written or said."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
_BEFORE_HOST = re.compile(r"^(?P<user>[^:/@]+://[^:/@]*):(?P<password>.*)@(?P<rest>[^@]*)$")
_IN_QUERY = re.compile(r"(?P<before>[?&])password=(?P<password>[^&]*)(?P<after>&?)")


def without_password(url: str) -> str:
    """A URL as it may be written: PostgreSQL then asks `~/.pgpass` or `PGPASSWORD` for it."""
    if (found := _BEFORE_HOST.match(url)) is not None:
        url = f"{found['user']}@{found['rest']}"
    return _IN_QUERY.sub(lambda one: one["before"] if one["after"] else "", url)


def hidden(text: str, url: str) -> str:
    """A message that may quote a URL, or its password, without the password.

    Args:
        text: what a library says.
        url: the URL as it was given.
    """
    found = [one["password"] for one in (_BEFORE_HOST.match(url), _IN_QUERY.search(url)) if one is not None]
    text = text.replace(url, without_password(url))
    for secret in {form for one in found for form in (one, unquote(one)) if form}:
        text = text.replace(secret, HIDDEN)
    return text
