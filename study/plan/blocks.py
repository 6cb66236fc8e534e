"""Blocks: one sweep file, several studies that differ in what all arms of a study share, such as the base method.

    blocks: {base.method: [simsiam, vicreg]}

makes the studies `<study>-simsiam` and `<study>-vicreg`; several keys make every combination. Numbers of different
blocks are never pooled: each block has its own bases, searches, contrasts and report.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from study.errors import Problem, shown

KEY = "blocks"


def block_overrides(raw: Mapping[str, Any], problems: list[Problem]) -> list[tuple[str, ...]]:
    """The `key=value` overrides that make each block; one empty tuple when the file has no blocks.

    Args:
        raw: the keys of a sweep file.
        problems: every problem found is appended here.
    """
    given = raw.get(KEY)
    if given is None and KEY not in raw:
        return [()]
    if not isinstance(given, Mapping) or not given:
        problems.append(Problem(KEY, f"must map keys of this file to lists of values, but got {shown(given)}"))
        return [()]
    before = len(problems)
    for key, values in given.items():
        if not isinstance(values, list) or not values:
            problems.append(Problem(f"{KEY}.{key}", f"must be a list of values, but got {shown(values)}"))
        elif len({_word(value) for value in values}) < len(values):
            problems.append(Problem(f"{KEY}.{key}", f"two values would name the same study: {shown(values)}"))
        if key in (KEY, "study"):
            problems.append(Problem(f"{KEY}.{key}", "cannot differ between blocks"))
    if len(problems) > before:
        return [()]
    combinations = itertools.product(*given.values())
    return [_overrides(str(raw.get("study")), dict(zip(given, values, strict=True))) for values in combinations]


def _overrides(study: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """JSON is YAML, so any value survives."""
    name = "-".join([study, *map(_word, values.values())])
    return (f"study={name}", *(f"{key}={json.dumps(value)}" for key, value in values.items()))


def _word(value: Any) -> str:
    """A value inside the name of a study."""
    if isinstance(value, Mapping) and "name" in value:
        value = value["name"]
    return re.sub(r"[^A-Za-z0-9_-]", "_", value if isinstance(value, str) else json.dumps(value))
