"""A password of a database is nowhere in what a search writes or says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bevlite.errors import BevliteError
from search.space.storage import hidden, without_password
from search.study.store import storage_of
from tests.search.fakes import SEARCH, load

SECRET = "s3:cr@t/ää"


@pytest.mark.parametrize(
    ("url", "written"),
    [
        (f"postgresql+psycopg://me:{SECRET}@host:5432/studies", "postgresql+psycopg://me@host:5432/studies"),
        (f"postgresql://host/studies?user=me&password={SECRET}&x=1", "postgresql://host/studies?user=me&x=1"),
        (f"postgresql://host/studies?password={SECRET}", "postgresql://host/studies"),
        ("postgresql://me:@host/studies", "postgresql://me@host/studies"),
        ("postgresql://me@host/studies", "postgresql://me@host/studies"),
        ("postgresql://host:5432/studies", "postgresql://host:5432/studies"),
        ("sqlite:////tmp/a:b/study.db", "sqlite:////tmp/a:b/study.db"),
    ],
)
def test_what_is_written(url: str, written: str) -> None:
    assert without_password(url) == written
    assert SECRET not in hidden(f"cannot connect to {url}" + f" ({SECRET})" * (SECRET in url), url)


def test_a_password_that_a_library_quotes_in_another_form() -> None:
    assert hidden("wrong: a@b", "postgresql://me:a%40b@host/studies") == "wrong: ***"


def test_the_search_file_of_a_study_holds_none(tmp_path: Path) -> None:
    search = load(tmp_path, SEARCH + f"storage: 'postgresql+psycopg://me:{SECRET}@host/studies'\n")
    assert search.config.storage is not None and SECRET in search.config.storage  # it is used
    assert SECRET not in search.as_yaml() and "postgresql+psycopg://me@host/studies" in search.as_yaml()


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "nodatabase", "postgresql+nodriver"])
def test_a_database_that_does_not_answer_says_none(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BevliteError, match="cannot be opened as a study database") as caught:
        storage_of(tmp_path, f"{kind}://me:secr3t@127.0.0.1:1/studies?connect_timeout=1")
    assert "secr3t" not in str(caught.value) and "me@127.0.0.1:1" in str(caught.value)
