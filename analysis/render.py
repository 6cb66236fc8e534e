"""Tables of strings as Markdown, LaTeX and plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import pandas as pd

_GAP = "  "
_NARROWEST = 10  # of a wrapped last column
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "Δ": r"$\Delta$", "–": "--", "<": "$<$", ">": "$>$",
    "…": r"\ldots{}", "α": r"$\alpha$",
}  # fmt: skip


def to_markdown(table: pd.DataFrame) -> str:
    """Return a GitHub-flavoured table; the first column is aligned left, the others right."""
    head, *rows = ([escape_markdown(cell).replace("|", "\\|") for cell in row] for row in _cells(table))
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def to_latex(table: pd.DataFrame, caption: str = "", label: str = "") -> str:
    """Return a `table` environment with the rules of the LaTeX package booktabs."""
    head, *rows = (_guarded(" & ".join(map(escape_latex, row))) + r" \\" for row in _cells(table))
    lines = [r"\begin{table}", r"  \centering"]
    if caption:
        lines.append(rf"  \caption{{{escape_latex(caption)}}}")
    if label:
        lines.append(rf"  \label{{{label}}}")
    body = [rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule", head, r"\midrule", *rows]
    lines += [f"  {line}" for line in (*body, r"\bottomrule", r"\end{tabular}")]
    return "\n".join([*lines, r"\end{table}", ""])


def escape_latex(text: str) -> str:
    """Make `text` harmless in LaTeX: one line, nothing in it a command."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Make `text` one line without HTML."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


def _guarded(row: str) -> str:
    """A row that begins with a bracket or a star would be taken for an argument of the line break before it."""
    return "{}" + row if row.startswith(("[", "*")) else row


def to_text(table: pd.DataFrame, width: int = 100) -> str:
    """Return an aligned table for a terminal of `width` columns.

    The first column is aligned left, and so is the last one when its texts must be wrapped; if that is not
    enough, the table is continued below, the first column repeated.
    """
    rows = _cells(table)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = _total(widths) - width
    if excess > 0 and widths[-1] - excess >= _NARROWEST:
        widths[-1] -= excess
        return _lines(rows, widths, wrapped=True)
    if excess > 0 and len(widths) > 2:
        keep = max(2, sum(_total(widths[:end]) <= width for end in range(1, len(widths) + 1)))
        names = list(table.columns)
        rest = [names[0], *names[keep:]]
        return _lines([row[:keep] for row in rows], widths[:keep]) + "\n" + to_text(table[rest], width)
    return _lines(rows, widths)


def signed(value: float) -> str:
    """Two decimals with a sign, a true minus among them: `+0.42`, `−0.10`."""
    return f"{value:+.2f}".replace("-", "−")


def wrap(text: str, width: int = 100) -> str:
    """Break the lines of `text` that are longer than `width`, at spaces; the others stay as they are."""
    return "\n".join(
        line if len(line) <= width else textwrap.fill(line, width, break_on_hyphens=False) for line in text.split("\n")
    )


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [
        [*map(str, table.columns)],
        *([*map(str, row)] for row in table.itertuples(index=False, name=None)),
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int], *, wrapped: bool = False) -> str:
    lines = []
    for number, row in enumerate(rows):
        last, *more = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""] if wrapped else [row[-1]]
        lines.append(_line([*row[:-1], last], widths, wrapped))
        lines += [_line([*[""] * (len(row) - 1), part], widths, wrapped) for part in more]
        if number == 0:
            lines.append("─" * _total(widths))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _line(row: Iterable[str], widths: Sequence[int], is_last_left: bool) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    cells[0] = cells[0].lstrip().ljust(widths[0])
    if is_last_left:
        cells[-1] = cells[-1].lstrip().ljust(widths[-1])
    return _GAP.join(cells)
