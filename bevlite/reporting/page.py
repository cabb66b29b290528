"""What every HTML page shares: one look, and under its title when, by which code and under what its figures were made.

A page is a template that extends `page.html.j2`; nothing in it is loaded from a network, and both themes can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2

from bevlite import __version__
from bevlite.reporting.latency_rows import percent
from bevlite.source_tree import source_commit

HERE = Path(__file__).parent


def render_page(template: Path, facts: Mapping[str, object], *, emulated: bool = False, **values: Any) -> str:
    """A page as text.

    Args:
        template: the file of the page; it extends `page.html.j2`.
        facts: under what its figures hold (data set, device, power mode, precision, predictor...), in this order; what
            is None or empty does not apply and is left out.
        emulated: the figures are of an emulated board, which colours the whole page.
        values: what the template names.
    """
    loader = jinja2.FileSystemLoader([template.parent, HERE])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(percent=percent, figure=figure)
    shown = {name: value for name, value in (made() | dict(facts)).items() if value not in (None, "")}
    return environment.get_template(template.name).render(facts=shown, emulated=emulated, **values)


def made() -> dict[str, object]:
    """When a page is made, and by which code."""
    commit = source_commit()
    code = f"BEVLite {__version__}, {f'commit {commit[:12]}{_changed(commit)}' if commit else 'installed copy'}"
    return {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "code": code}


def figure(value: float | None) -> str:
    """Four digits, or that it is not known."""
    return "not known" if value is None else f"{value:.4g}"


def data_set(root: object, version: object = None, split: object = None) -> str | None:
    """A data set as one word: the name of its folder, with version and split; None where there is none."""
    if not root:
        return None
    more = ", ".join(str(part) for part in (version, split) if part)
    return f"{Path(str(root)).name} ({more})" if more else Path(str(root)).name


def _changed(commit: str) -> str:
    return " and changes" if commit.endswith("-dirty") else ""
