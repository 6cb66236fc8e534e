"""`key=value` overrides of a sweep file: dotted keys that must exist."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from study.errors import Problem, did_you_mean, shown
from study.plan import yaml_text
from study.plan.keys import child, default, is_model, known_keys, maps_to_lists, takes_any_key
from study.plan.schema import ComponentIn, SweepIn
from study.plan.wording import dotted, is_about


def apply(raw: Mapping[str, Any], given: Sequence[str], problems: list[Problem]) -> dict[str, Any]:
    """Return `raw` with the overrides put in, as far as they make sense; the others are added to `problems`.

    A key must stand in the file, or be one that the schema or a component has beside keys that stand in the file.
    """
    result = copy.deepcopy(dict(raw))
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        parts = _parts(key)
        if not equals or not parts:
            message = "is not key=value, e.g. 'confirm.base_seeds=[1,2,3]'"
            problems.append(Problem(f"override {shown(text)}", message))
            continue
        try:
            parsed = yaml_text.parse_scalar(value)
        except ValueError as error:
            problems.append(Problem(f"override {key}", f"{shown(value)} is not readable as YAML: {error}"))
            continue
        wrong = _put(result, parts, parsed)
        if wrong:
            problems.append(Problem(f"override {key}", wrong))
    return result


def blame(problem: Problem, given: Sequence[str]) -> Problem:
    """The problem, with the override that touched its place."""
    for text in reversed(given):
        key = dotted(_parts(text.partition("=")[0].strip()))
        if key and problem.path and is_about(problem.path, key):
            first, line_break, rest = problem.message.partition("\n")
            return Problem(problem.path, f"{first} (override {key}){line_break}{rest}")
    return problem


def _parts(key: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", key)]


def _put(root: dict[str, Any], parts: Sequence[str | int], value: Any) -> str | None:
    """Put a value at a place; return what is wrong with the place."""
    place: Any = root
    kind: Any = SweepIn
    done = 0
    while True:
        key, width = _next_key(place, kind, parts[done:])
        wrong = _lacks(place, kind, key, dotted(parts[:done]) or "the sweep file")
        if wrong:
            return wrong
        done += width
        if done == len(parts):
            place[key] = value
            return None
        value_there = place[key] if isinstance(place, list) else place.get(key, default(kind, key))
        kind = child(kind, key)
        place[key] = _opened(value_there, kind)
        place = place[key]


def _next_key(place: Any, kind: Any, parts: Sequence[str | int]) -> tuple[Any, int]:
    """The first key and how many parts it has: keys such as `continuation.optimizer.lr` hold dots themselves."""
    if maps_to_lists(kind):
        return ".".join(map(str, parts)), len(parts)
    if isinstance(place, Mapping):
        for width in range(len(parts), 0, -1):
            joined = ".".join(map(str, parts[:width]))
            if joined in place:
                return joined, width
    return parts[0], 1


def _lacks(place: Any, kind: Any, key: Any, where: str) -> str | None:
    if isinstance(place, list):
        found = isinstance(key, int) and key < len(place)
        return None if found else f"{where} is a list of {len(place)}; {key!r} is not an index into it, counted from 0"
    if not isinstance(place, Mapping):
        return f"{where} is {shown(place)} and has no key {key!r}"
    known = list(dict.fromkeys([*map(str, place), *known_keys(kind)]))
    if key in known or takes_any_key(kind):
        return None
    return f"no key {str(key)!r} in {where}.{did_you_mean(str(key), known)}"


def _opened(value: Any, kind: Any) -> Any:
    """A value whose keys can be set: a component's bare name and an absent mapping become mappings."""
    if kind is ComponentIn and isinstance(value, str):
        return {"name": value}
    if value is None and (is_model(kind) or takes_any_key(kind)):
        return {}
    return value
