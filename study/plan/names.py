"""Names of studies, arms and evaluations that a reader of CSV files takes for something else.

They stand alone in cells of the tables that a study writes, where pandas, R and spreadsheets turn them into missing
values, truth values, numbers, dates or formulas, silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from study.errors import Problem

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # so that no name begins as a formula does: with =, +, @ or -
_MISSING, _TRUTH = ("na", "nan", "null", "none"), ("true", "false")
_TRUTH_IN_R = ("T", "F")
_NUMBER = re.compile(r"[0-9][0-9_]*([ed][+-]?[0-9]+)?|0x[0-9a-f]+|inf|infinity", re.IGNORECASE)
_MONTH = (  # spreadsheets know both forms: they made dates of the genes SEPT2 and MARCH1
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    "|dec(ember)?)"
)
_DATE = re.compile(rf"[0-9]+(-[0-9]+)+|{_MONTH}-?[0-9]{{1,4}}|[0-9]{{1,4}}-?{_MONTH}(-?[0-9]{{1,4}})?", re.IGNORECASE)


def misread(name: str) -> str | None:
    """What readers of CSV take a name for; None when it is a name to all of them."""
    if name.lower() in _MISSING:
        return "a missing value"
    if name.lower() in _TRUTH or name in _TRUTH_IN_R:
        return "a truth value"
    if _NUMBER.fullmatch(name):
        return "a number"
    return "a date" if _DATE.fullmatch(name) else None


def check_names(
    names: Mapping[str, tuple[str, str]], known: Callable[[], Collection[str]], problems: list[Problem]
) -> None:
    """Refuse names that tables could not hold.

    Args:
        names: place in the file → (what is named, name).
        known: says which names are in use already, by a study that was begun before this was checked.
        problems: every problem found is appended here.
    """
    for place, (what, name) in names.items():
        if (wrong := misread(name)) is not None and name not in known():
            problems.append(Problem(place, f"{name!r} reads as {wrong} in tables; write e.g. {what}-{name}"))


def names_in(plan: Mapping[str, Any] | None) -> set[str]:
    """The names that a stored plan uses."""
    if plan is None:
        return set()
    parts: Iterable[Mapping[str, Any]] = [*plan.get("arms", ()), *plan.get("evaluations", ())]
    return {str(plan.get("study")), *(str(part.get("name")) for part in parts)}
