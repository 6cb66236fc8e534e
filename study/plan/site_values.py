"""What a value of a site file may be: every check says in words what is wrong, or returns None."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import Any

from study.errors import did_you_mean, shown
from study.plan.yaml_out import typed

Check = Callable[[Any], str | None]

_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([MGTmgt])(?:i?[Bb])?")
_GB = {"M": 1 / 1024, "G": 1, "T": 1024}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_MB = 2**40  # of one machine; far below what sbatch's own numbers hold
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def minutes_of(text: str) -> float | None:
    """Minutes of a duration as SLURM writes it: `90`, `1:30:00`, `2-00`, `2-12:30`; None when it is none.

    Source: the manual of sbatch, `--time`.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, *parts = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        hours, minutes, seconds = parts
        return days * 1440 + (hours or 0) * 60 + (minutes or 0) + (seconds or 0) / 60
    first, second, third = parts
    if third is not None:
        return (first or 0) * 60 + (second or 0) + third / 60
    return (first or 0) + (second or 0) / 60


def whole_number(low: int) -> Check:
    """A whole number, at least `low`."""

    def check(value: Any) -> str | None:
        if type(value) is int and value >= low:
            return None
        least = f"above {low - 1}" if low > 0 else "of at least 0"
        return f"must be a whole number {least}, but got {shown(value)}"

    return check


def amount(of: str) -> Check:
    """A number above 0 of `seconds`, `minutes` or `gigabytes`."""

    def check(value: Any) -> str | None:
        if type(value) in (int, float) and 0 < value < math.inf:
            return None
        text = value if isinstance(value, str) else ""
        meant = minutes_of(text) if of == "minutes" else None
        meant = meant and math.ceil(meant)  # SLURM knows no parts of them
        if of == "gigabytes" and (match := _MEMORY.fullmatch(text)):
            meant = float(match[1]) * _GB[match[2].upper()]
        advice = f"; write {typed(meant)}" if meant else ""
        return f"must be a number of {of} above 0, but got {shown(value)}{advice}"

    return check


def whole_amount(of: str, high: int) -> Check:
    """A whole number of `seconds` or `minutes` above 0, at most `high`: SLURM knows no parts of them."""
    is_amount = amount(of)

    def check(value: Any) -> str | None:
        if wrong := is_amount(value):
            return wrong
        if value > high:
            return f"must be at most {high} {of}, which is the most that SLURM knows, but got {shown(value)}"
        if value != int(value):
            return f"must be a whole number of {of}, because SLURM knows no parts of them; write {math.ceil(value)}"
        return None

    return check


def memory(value: Any) -> str | None:
    """An amount of gigabytes; sbatch is told whole megabytes, and takes 0 for all that a machine has."""
    if wrong := amount("gigabytes")(value):
        return wrong
    if not 1 <= value * 1024 <= _MOST_MB:
        return f"must lie between 0.001 (1 MB) and {_MOST_MB // 1024} gigabytes, but got {shown(value)}"
    return None


def choice(names: Collection[str], noun: str) -> Check:
    """One of some names."""

    def check(value: Any) -> str | None:
        return None if value in names else f"no {noun} {shown(value)}.{did_you_mean(value, names)}"

    return check


def line(value: Any) -> str | None:
    """Text on one line."""
    if not isinstance(value, str):
        advice = "; write it in quotes" if isinstance(value, (bool, int, float)) else ""
        return f"must be text, but got {shown(value)}{advice}"
    if not value.strip():
        return "must be text, but is empty; leave the key out instead"
    if _UNPRINTABLE.search(value):
        return f"must be text on one line, but got {shown(value)}"
    return None


def shell_line(value: Any) -> str | None:
    """A line of the batch script."""
    wrong = line(value)
    if wrong is None and value.lstrip().startswith("#SBATCH"):
        return (
            f"must be a shell line, but {shown(value)} would be taken for an option of sbatch; use the keys for these"
        )
    return wrong


def word(value: Any) -> str | None:
    """Text without spaces: it stands in a directive of a batch script."""
    wrong = line(value)
    if wrong is None and any(character.isspace() for character in value):
        return f"must be text without spaces, but got {shown(value)}"
    return wrong


def list_of(check: Check, example: str) -> Check:
    """A list; the check holds for each of its members."""

    def check_all(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"must be a list such as {example}, but got {shown(value)}"
        wrong = [f"[{index}] {found}" for index, member in enumerate(value) if (found := check(member))]
        return "; ".join(wrong) or None

    return check_all


def variables(value: Any) -> str | None:
    """Environment variables."""
    if not isinstance(value, dict):
        return f"must be a mapping such as {{OMP_NUM_THREADS: 4}}, but got {shown(value)}"
    wrong = []
    for name, content in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            wrong.append(f"{shown(name)} is no name of a variable (letters, digits and _)")
        elif name == "PYTHONPATH":
            wrong.append("PYTHONPATH says where jobs find the framework; extend it in `setup` instead")
        elif type(content) not in (int, float) and content != "" and (found := line(content)):
            wrong.append(f"{name} {found}")
    return "; ".join(wrong) or None
