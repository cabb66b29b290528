"""`python -m bevlite`: the command line."""

from __future__ import annotations

from bevlite.cli.main import main

if __name__ == "__main__":
    main()
