"""The search: finds the most accurate variant within a latency budget. Built on `bevlite`, not part of it.

    from search import run_search, search_winner

    run_search("configs/searches/demo.yaml", "studies/demo", budget_ms=20)
    winner = search_winner("studies/demo")

Every function is imported when it is first asked for, so `import search` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import (
        SearchWinner,
        add_trial,
        export_trial,
        model_sampler,
        resume_search,
        run_search,
        scan_space,
        search_status,
        search_winner,
        write_search_report,
    )

__all__ = [
    "SearchWinner",
    "add_trial",
    "export_trial",
    "model_sampler",
    "resume_search",
    "run_search",
    "scan_space",
    "search_status",
    "search_winner",
    "write_search_report",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'search' has no attribute '{name}'; accepted: {', '.join(__all__)}")
    from search import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
