"""`key=value` overrides of a sweep file: dotted keys that must exist."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from study.errors import PlanError, Problem, did_you_mean
from study.plan import yaml_text
from study.plan.schema import SweepIn


def apply(raw: Mapping[str, Any], given: Sequence[str], source: str) -> dict[str, Any]:
    """Return `raw` with the overrides put in.

    A key must stand in the file, or be one of the schema's optional keys beside keys that stand in the file.

    Raises:
        PlanError: an override is not `key=value`, its value is not YAML, or its key does not exist; all at once.
    """
    result = copy.deepcopy(dict(raw))
    problems: list[Problem] = []
    for text in given:
        key, equals, value_text = text.partition("=")
        if not equals or not key:
            problems.append(Problem(text, "an override is key=value, e.g. confirm.base_seeds=[1,2,3]"))
            continue
        try:
            value = yaml_text.parse_scalar(value_text)
        except ValueError as error:
            problems.append(Problem(key, f"value {value_text!r} is not readable as YAML: {error}"))
            continue
        _put(result, key, value, problems)
    if problems:
        raise PlanError(f"overrides of {source}", problems)
    return result


def _put(root: dict[str, Any], key: str, value: Any, problems: list[Problem]) -> None:
    *parents, leaf = re.findall(r"[^.\[\]]+", key)
    place: Any = root
    model: Any = SweepIn
    for part in [*parents, leaf]:
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            last, known = int(part), []
        else:
            optional = list(getattr(model, "model_fields", {}))
            known = [*map(str, place), *optional] if isinstance(place, Mapping) else []
            last = part
            if part not in known:
                where = key[: key.index(part)].rstrip(".[") or "the sweep file"
                problems.append(Problem(key, f"no key {part!r} in {where}.{did_you_mean(part, known)}"))
                return
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else None
        if part is leaf:
            place[last] = value
        else:
            if isinstance(place, dict):
                place.setdefault(last, {})
            place = place[last]


def dotted(location: Sequence[Any]) -> str:
    """A place inside a file: `contrasts[2]`, `arms.e2mc.start`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).removeprefix(".")
