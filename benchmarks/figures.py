"""Figures in documents, held against the result files that they are from.

    python benchmarks/figures.py            # every figure that names a source; exit 1 where one differs
    python benchmarks/figures.py --write    # and put right what differs

A figure in a sentence is a link to its source, and the title of the link says where it stands there::

    Cameras add [0.077 NDS [0.056, 0.098]][cameras].

    [cameras]: benchmarks/results/world.md "both - lidar | NDS [95 %]"
    [error]: benchmarks/results/orin.md "Over # lineages of # rows: mean #%"

`ROW | COLUMN` is a cell of a table: the row by its first cell, or by its first few with ` / ` between them. A title
with `#` in it is a sentence of the file, in which `#` stands for its numbers. A text may give fewer decimals than its
source, and only the first numbers of it.

A table is preceded by what its rows are made of: a cell of the source a name, rounded where a format stands behind it.
Rows are those whose first cells are in the document, in its order; `names` translates first cells::

    <!-- rows of benchmarks/results/world.md
    names: both = camera + LiDAR
    | {network} | {NDS [95 %]} | {mAP [95 %]:.2f} |
    -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?!\d)")
DEFINITION = re.compile(r'^\[([\w-]+)\]: (\S+) "([^"]+)"$', re.MULTILINE)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\[([\w-]+)\]")
ROWS = re.compile(r"<!-- rows of (\S+)\n(?:names: (.*)\n)?(\|.*\|)\n-->\n((?:\|.*\n)+)")
FIELD = re.compile(r"\{(.+?)(?::\.(\d)f)?\}")


class FigureError(Exception):
    """One line: what is wrong with a source or a figure."""


@dataclass(frozen=True)
class Difference:
    """A figure that is not what its source says; `should` is what it should be."""

    where: str
    found: str
    should: str

    def __str__(self) -> str:
        return f"{self.where}: found '{self.found}'; its source says '{self.should}'"


@dataclass(frozen=True)
class Table:
    """A Markdown table: its columns, and its rows cell by cell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def row(self, keys: Sequence[str]) -> dict[str, str] | None:
        """The row that begins with these cells, by column; None where there is none, or several."""
        found = [row for row in self.rows if row[: len(keys)] == tuple(keys)]
        return dict(zip(self.columns, found[0], strict=True)) if len(found) == 1 else None


def check(document: Path) -> list[Difference]:
    """What differs between a document and its sources (raises FigureError for a source that is not there)."""
    return [difference for _, difference in _mended(document)[1]]


def mend(document: Path) -> None:
    """Put right what differs."""
    document.write_text(_mended(document)[0], encoding="utf-8")


def unsourced(text: str) -> list[str]:
    """Figures (decimals, percentages, milliseconds) in a document's words that name no source.

    Versions, levels of intervals, code, tables that are made of a source, and link targets are none.
    """
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for pattern in (ROWS, DEFINITION, LINK, re.compile(r"<!--.*?-->", re.DOTALL), re.compile(r"`[^`\n]+`")):
        text = pattern.sub("", text)
    text = re.sub(r"\]\([^)\s]+\)", "]", text)
    text = re.sub(r"\b(?:95|80) ?%", "", text)  # levels of intervals
    text = re.sub(r"(TensorRT|Python|opset|Apache-|v|version|版本) ?\d[\d.]*(?: (?:to|and|至|或) \d[\d.]*)?", "", text)
    return re.findall(r"(?<![\w.])\d+\.\d+|\d+ ?(?:%|ms\b|毫秒)", text)


def documents() -> list[Path]:
    """Documents in which a figure names its source."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(f for f in files if DEFINITION.search(text := f.read_text(encoding="utf-8")) or ROWS.search(text))


def _mended(document: Path) -> tuple[str, list[tuple[str, Difference]]]:
    """The text as it should be, and every difference by what stands there now."""
    text, name = document.read_text(encoding="utf-8"), document.name
    sources = {key: (document.parent / file, where) for key, file, where in DEFINITION.findall(text)}
    found: list[tuple[str, Difference]] = []

    def link(match: re.Match[str]) -> str:
        key = match[2]
        if key not in sources:  # a link without a title is only a link
            if not re.search(rf"^\[{key}\]: ", text, re.MULTILINE):
                raise FigureError(f"{name}: found [{match[1]}][{key}]; accepted: a line [{key}]: FILE beside it")
            return match[0]
        should = _with_numbers(match[1], _source(*sources[key]), f"{name}: [{key}]")
        if should != match[1]:
            found.append((match[1], Difference(f"{name}: [{key}]", match[1], should)))
        return f"[{should}][{key}]"

    def table(match: re.Match[str]) -> str:
        head = match[4].splitlines(keepends=True)
        made = []
        for row in head[2:]:
            should = _row(row.strip(), document.parent / match[1], match[2] or "", match[3], name) + "\n"
            if should != row:
                found.append((row, Difference(f"{name}: table of {match[1]}", row.strip(), should.strip())))
            made.append(should)
        return match[0][: match.start(4) - match.start()] + "".join([*head[:2], *made])

    return LINK.sub(link, ROWS.sub(table, text)), found


def _row(row: str, file: Path, names: str, template: str, where: str) -> str:
    """A row of a document as its source and its template want it."""
    theirs = {ours.strip(): theirs.strip() for theirs, ours in (pair.split(" = ") for pair in names.split(";") if pair)}
    cells, fields = _cells(row), _cells(template)
    for count in range(1, len(cells) + 1):
        keys = [theirs.get(cell, cell) for cell in cells[:count]]
        for source in _tables(file):
            values = source.row(keys)
            if values is not None and all(f[0] in values for field in fields for f in FIELD.findall(field)):
                rest = [_filled(field, values) for field in fields[count:]]
                return "| " + " | ".join([*cells[:count], *rest]) + " |"
    raise FigureError(f"{where}: found row '{cells[0]}'; accepted: a row of {file.name} with what the template names")


def _filled(field: str, values: Mapping[str, str]) -> str:
    """A cell of a template with the values of a row."""
    return FIELD.sub(lambda match: _rounded(values[match[1]], match[2]), field)


def _rounded(cell: str, decimals: str | None) -> str:
    """A cell as it is, or its first number rounded."""
    found = NUMBER.search(cell)
    return cell if not decimals or found is None else f"{_value(found[0]):.{decimals}f}"


@cache
def _source(file: Path, where: str) -> tuple[float, ...]:
    """The numbers of a cell, or of the sentence that a pattern names."""
    if not file.is_file():
        raise FigureError(f"{file}: no such file")
    row, bar, column = where.partition(" | ")
    if bar and "#" not in where:
        rows = [found for table in _tables(file) if (found := table.row(row.split(" / "))) and column in found]
        if len(rows) != 1:
            raise FigureError(f"{file.name}: found {len(rows)} cells '{where}'; accepted: one")
        return tuple(_value(number) for number in NUMBER.findall(rows[0][column]))
    pattern = re.escape(where).replace(r"\#", f"({NUMBER.pattern})").replace(r"\ ", r"\s+")
    found = {match.groups() for match in re.finditer(pattern, file.read_text(encoding="utf-8"))}
    if len(found) != 1:
        raise FigureError(f"{file.name}: found {len(found)} sentences '{where}'; accepted: one")
    return tuple(_value(number) for number in found.pop())


def _with_numbers(text: str, values: Sequence[float], where: str) -> str:
    """A text with its numbers put right, each with as many decimals and with a sign where it has one now."""
    numbers = NUMBER.findall(text)
    if not numbers or len(numbers) > len(values):
        raise FigureError(f"{where}: found {len(numbers)} numbers in '{text}'; its source has {len(values)}")
    left = iter(values)

    def put(match: re.Match[str]) -> str:
        value, decimals = next(left), len(match[0].partition(".")[2])
        signed = match[0][0] in "+-−"
        return f"{value if signed or '[' in text else abs(value):{'+' if match[0][0] == '+' else ''}.{decimals}f}"

    return NUMBER.sub(put, text)


@cache
def _tables(file: Path) -> tuple[Table, ...]:
    if not file.is_file():
        raise FigureError(f"{file}: no such file")
    return tuple(_read_tables(file.read_text(encoding="utf-8")))


def _read_tables(text: str) -> Iterator[Table]:
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        columns, _, *rows = (tuple(_cells(line)) for line in block.splitlines())
        yield Table(columns, tuple(row for row in rows if len(row) == len(columns)))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))


def main() -> None:
    """Check all documents, or put them right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put right what differs")
    write = parser.parse_args().write
    try:
        found = [difference for document in documents() for difference in check(document)]
        for document in documents() if write else ():
            mend(document)
    except FigureError as error:
        sys.exit(f"error: {error}")
    for difference in found:
        print(difference)
    print(f"{len(documents())} documents, {len(found)} figures {'put right' if write else 'that differ'}")
    sys.exit(1 if found and not write else 0)


if __name__ == "__main__":
    main()
