"""Blocks: one sweep file, several studies that differ in what all arms of a study share, such as the base method.

    blocks: {base.method: [simsiam, vicreg], continuation.epochs: [1, 2]}

makes every combination, as the studies `<study>-simsiam-1`, `<study>-simsiam-2`, …. With `design: one_at_a_time` it
makes the study as the file describes it, `<study>-as-given`, and one for every other value of every key alone,
`<study>-method-vicreg`. A list of mappings instead of a mapping of lists names the combinations one by one. Numbers
of different blocks are never pooled: each block has its own bases, searches, contrasts and report.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from study.errors import Problem, shown

KEY, DESIGN = "blocks", "design"
_ONE_AT_A_TIME, _AS_GIVEN = "one_at_a_time", "as-given"


def block_overrides(raw: Mapping[str, Any], problems: list[Problem]) -> list[tuple[str, ...]]:
    """The `key=value` overrides that make each block; one empty tuple when the file has no blocks.

    Args:
        raw: the keys of a sweep file.
        problems: every problem found is appended here.
    """
    given = raw.get(KEY)
    if given is None and KEY not in raw:
        if DESIGN in raw:
            problems.append(Problem(DESIGN, "says how blocks are combined, but there are no blocks; leave it out"))
        return [()]
    study, before = str(raw.get("study")), len(problems)
    if isinstance(given, list) and given and all(isinstance(block, Mapping) and block for block in given):
        _check_keys({key for block in given for key in block}, problems)
        blocks = [("-".join(map(_word, block.values())), block) for block in given]
        if DESIGN in raw:
            problems.append(Problem(DESIGN, "blocks that are listed one by one are not combined; leave it out"))
    elif isinstance(given, Mapping) and given:
        _check_values(given, problems)
        blocks = _combined(raw, given, problems) if len(problems) == before else []
    else:
        message = f"must map keys of this file to lists of values, or list such mappings, but got {shown(given)}"
        problems.append(Problem(KEY, message))
        return [()]
    names = [name for name, _ in blocks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        problems.append(Problem(KEY, f"two blocks would be the same study {study}-{twice[0]}"))
    if len(problems) > before:
        return [()]
    return [_overrides(f"{study}-{name}", values) for name, values in blocks]


def _combined(
    raw: Mapping[str, Any], given: Mapping[str, Sequence[Any]], problems: list[Problem]
) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, values) of every block of a mapping of lists."""
    design = raw.get(DESIGN, "full")
    if design == "full":
        combinations = itertools.product(*given.values())
        return [("-".join(map(_word, values)), dict(zip(given, values, strict=True))) for values in combinations]
    if design != _ONE_AT_A_TIME:
        problems.append(Problem(DESIGN, f"must be 'full' or 'one_at_a_time', but got {shown(design)}"))
        return []
    return [
        (_AS_GIVEN, {}),
        *(
            (f"{key.rpartition('.')[2]}-{_word(value)}", {key: value})
            for key, values in given.items()
            for value in values
            if _word(value) != _word(_value_at(raw, key))
        ),
    ]


def _check_values(given: Mapping[str, Any], problems: list[Problem]) -> None:
    for key, values in given.items():
        if not isinstance(values, list) or not values:
            problems.append(Problem(f"{KEY}.{key}", f"must be a list of values, but got {shown(values)}"))
        elif len({_word(value) for value in values}) < len(values):
            problems.append(Problem(f"{KEY}.{key}", f"two values would name the same study: {shown(values)}"))
    _check_keys(set(given), problems)


def _check_keys(keys: set[str], problems: list[Problem]) -> None:
    for key in sorted(keys & {KEY, DESIGN, "study"}):
        problems.append(Problem(f"{KEY}.{key}", "cannot differ between blocks; leave it out here"))


def _value_at(raw: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key of the file; None when nothing does."""
    value: Any = raw
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _overrides(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """JSON is YAML, so any value survives."""
    return (f"study={name}", *(f"{key}={json.dumps(value)}" for key, value in values.items()))


def _word(value: Any) -> str:
    """A value inside the name of a study."""
    if isinstance(value, Mapping) and "name" in value:
        value = value["name"]
    return re.sub(r"[^A-Za-z0-9_-]", "_", value if isinstance(value, str) else json.dumps(value))
