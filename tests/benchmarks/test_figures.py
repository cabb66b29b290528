"""Figures in documents are those of the result files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import FigureError, check, documents, mend, unsourced

SOURCE = """# Results
| network | stage | NDS [95 %] | ms, predicted |
| --- | --- | --- | --- |
| both | float | 0.779 [0.752, 0.802] | 54.46 [45.4, 72.4] |
| both | qat | 0.686 [0.669, 0.700] | 26.6 |
| both - lidar | float | +0.010 [-0.004, 0.015] | - |

Over 5 lineages of 1,270 rows: mean -8.31%, tau 0.945.
"""
ROWS = """<!-- rows of source.md
names: both = camera + LiDAR
| {network} | {stage} | {NDS [95 %]} | {ms, predicted:.1f} |
-->
| variant | stage | NDS | ms |
| --- | --- | --- | --- |
| camera + LiDAR | qat | 0.686 [0.669, 0.700] | 26.6 |
| camera + LiDAR | float | 0.779 [0.752, 0.802] | 54.5 |
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "source.md").write_text(SOURCE)
    return tmp_path / "document.md"


def links(*texts: str) -> str:
    cells = 'gain]: source.md "both - lidar | NDS [95 %]"', 'error]: source.md "of # rows: mean #%, tau #"'
    return (
        " ".join(texts)
        + "\n\n"
        + "[elsewhere]: x.md\n"
        + "\n".join(f"[{cell}" for cell in (*cells, 'int]: source.md "both / qat | NDS [95 %]"'))
    )


@pytest.mark.parametrize(
    ("text", "should"),
    [
        ("[0.010 NDS [-0.004, 0.015]][gain]", None),
        ("[+0.01][gain]", None),  # fewer decimals, fewer numbers
        ("[0.011][gain]", "[0.010][gain]"),
        ("[0.010 [0.004, 0.015]][gain]", "[0.010 [-0.004, 0.015]][gain]"),  # a sign that is lost is a difference
        ("[1270 rows, 8.3 %, 0.945][error]", None),
        ("[1270 rows, 9.3 %][error]", "[1270 rows, 8.3 %][error]"),
        ("[0.69][int] and [a link][elsewhere]", None),
    ],
)
def test_a_linked_figure_is_that_of_its_source(document: Path, text: str, should: str | None) -> None:
    document.write_text(links(text))
    found = check(document)
    assert len(found) == (should is not None)
    mend(document)
    assert document.read_text() == links(should or text) and check(document) == []


def test_rows_are_made_of_their_source(document: Path) -> None:
    document.write_text(ROWS)
    assert check(document) == []
    document.write_text(ROWS.replace("54.5", "77.0").replace("0.686 [", "0.687 ["))
    assert [difference.should for difference in check(document)] == [
        "| camera + LiDAR | qat | 0.686 [0.669, 0.700] | 26.6 |",
        "| camera + LiDAR | float | 0.779 [0.752, 0.802] | 54.5 |",
    ]
    mend(document)
    assert document.read_text() == ROWS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (links("[0.1][gain]").replace("both - lidar |", "lidar |"), "found 0 cells"),
        (links("[0.1][gain]").replace("source.md", "gone.md"), "no such file"),
        (links("[1 2 3 4][gain]"), "found 4 numbers"),
        (links("[0.1][gone]"), "found \\[0.1\\]\\[gone\\]"),
        (links("[1][error]").replace("of # rows", "of # cats"), "found 0 sentences"),
        (ROWS.replace("| camera + LiDAR | qat", "| radar | qat"), "found row 'radar'"),
        (ROWS.replace("{stage}", "{steps}"), "with what the template names"),
    ],
)
def test_a_source_that_is_not_there_is_named(document: Path, text: str, words: str) -> None:
    document.write_text(text)
    with pytest.raises(FigureError, match=words):
        check(document)


def test_figures_without_a_source_are_found() -> None:
    text = f"takes 3.5 ms or 8 % of 12 GB, `0.5`, TensorRT 8.5 to 11.4, [0.779](x.md)\n```\n0.6\n```\n{ROWS}"
    assert unsourced(text + links("[0.010][gain]")) == ["3.5", "8 %", "0.779"]


@pytest.mark.parametrize("file", documents(), ids=lambda file: str(file.relative_to(figures.ROOT)))
def test_documents_say_what_their_sources_say(file: Path) -> None:
    """`python benchmarks/figures.py --write` puts right what differs."""
    assert [str(difference) for difference in check(file)] == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_every_figure_of_the_front_page_has_a_source(name: str) -> None:
    text = (figures.ROOT / name).read_text(encoding="utf-8")
    assert len(figures.LINK.findall(text)) > 10 and unsourced(text) == []
