"""What the tests of compression share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from bevlite.cli.main import main


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process; gives what it said."""

    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["bevlite", *map(str, arguments)])
        with pytest.raises(SystemExit) as found:
            sys.exit(main())
        assert (found.value.code or 0) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out + said.err

    return call
