from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bevlite import __version__
from bevlite.export.check.operators import OperatorFinding
from bevlite.reporting.latency_page import latency_page, write_page
from bevlite.reporting.latency_rows import summary_lines
from bevlite.reporting.latency_support import Support, support
from tests.reporting.reports import kernel, report

CLEAN = Support(("8.5", "10.3"), ())
VOID = {"meta", "br", "circle", "rect", "line", "polygon"}


class Structure(HTMLParser):
    """Tags that are left open, attributes, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page() -> str:
    kernels = [
        kernel("<b>conv</b>", 3, flops=2e9, traffic_bytes=1e7, launch_ms=0.003, share=0.5),
        kernel("gather", 1, "memory", op="Gather", traffic_bytes=5e7, launch_ms=0.003, note="never measured"),
    ]
    finding = OperatorFinding("silent_wrong", "8.5", "node7", "Gather", "it goes wrong", "do without")
    made = report({"camera": kernels, "heads": [kernel("small", 0.5, "launch")]}, {"decoding": 1.5})
    return latency_page(made, support({"camera": [finding], "heads": []}, ("8.5", "10.3")), "net & co")


def test_the_page_is_well_formed_and_holds_everything(page: str) -> None:
    structure = Structure(page)
    assert structure.open == []
    text = structure.text
    assert "net & co" in text and "<b>conv</b>" in text  # names are text
    assert "6.00 ms" in text and "3.00 to 12.00 ms" in text
    for words in ("camera", "heads", "decoding", "published figure", "interval: by hand", "a paper"):
        assert words in text
    assert "Gather *" in text and "* never measured" in text
    assert re.search(r"Gather 1 runs wrongly - it goes wrong; do without", text)
    assert "nothing known speaks against: 10.3" in text


def test_what_its_figures_hold_for_stands_under_the_title(page: str) -> None:
    """When it was made, by which code, and under what; what does not apply is left out."""
    facts = page[page.index('<dl class="facts">') : page.index("</dl>")]
    text = Structure(facts + "</dl>").text
    expected = ("predictor test", "device board", "power mode MAXN", "TensorRT 10.3", "CUDA graph on", "precision fp16")
    assert all(words in text for words in expected), text
    assert re.search(r"date \d{4}-\d\d-\d\d \d\d:\d\d UTC", text) and f"BEVLite {__version__}" in text
    assert "data set" not in text
    assert "interval 3.000 to 12.000 ms" in Structure(page).text.partition("Provenance")[2]


def test_the_terminal_and_the_page_say_the_same_shares() -> None:
    """Of every kind of kernel and every bound, with steps around the engines that widen the denominator."""
    kernels = [kernel("a", 3, "memory", launch_ms=0.5), kernel("b", 1, "compute", op="MatMul", launch_ms=0.25)]
    made = report({"m": kernels}, {"decoding": 1.5})
    text = Structure(latency_page(made, CLEAN, "net")).text
    kinds, bounds = summary_lines(made)
    said = re.findall(r"(convolution|matrix product|compute|memory) ([\d.]+ %)", f"{kinds} {bounds}")
    assert len(said) == 4
    for name, share in said:
        assert re.search(rf"{name}[^%]*?{re.escape(share)}", text), (name, share)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link|<img|<iframe", page)
    assert not [pair for pair in Structure(page).attributes if pair[0] in ("src", "href", "srcset", "onload")]


def test_both_themes_define_every_colour(page: str) -> None:
    style = page[page.index("<style>") : page.index("</style>")]
    light, dark = (set(re.findall(r"(--[a-z]+):", part)) for part in style.split("prefers-color-scheme: dark", 1))
    used = set(re.findall(r"var\((--[a-z]+)\)", style))
    assert used <= light and used <= dark and len(used) > 8


def test_bars_are_as_long_as_their_time(page: str) -> None:
    modules = page[page.index("By module") : page.index("By kind")]
    widths = [float(w) for w in re.findall(r'<i class="\w+" [^>]*width:([\d.]+)%', modules)]
    # camera 3 + 1, heads 0.5, decoding 1.5 of 8 ms, the far end of camera's interval
    assert widths == pytest.approx([37.5, 12.5, 6.25, 18.75])
    intervals = [float(v) for p in re.findall(r"<u [^>]*left:([\d.]+)%;width:([\d.]+)%", modules) for v in p]
    assert intervals == pytest.approx([25, 75, 3.125, 9.375, 9.375, 28.125])


def test_a_prediction_says_that_nothing_was_measured(page: str) -> None:
    assert "Nothing was measured" in page
    measured = report({"m": [kernel("k", 1)]}, kind="measured", predictor=None, samples_ms=(1.0, 1.1), ceilings=None)
    other = latency_page(measured, CLEAN, "net")
    assert "Nothing was measured" not in other and "predicted" not in other and "<figure>" not in other


def test_an_empty_network_has_a_page_too(tmp_path: Path) -> None:
    write_page(tmp_path / "deep" / "page.html", report({"m": []}), CLEAN, "nothing")
    assert Structure((tmp_path / "deep" / "page.html").read_text()).open == []
