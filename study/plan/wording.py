"""What pydantic found, in the words of a sweep file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from study import registry
from study.errors import shown

_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "too_short": "must hold at least {min_length} of them",
    "too_long": "must hold at most {max_length} of them",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "may hold letters, digits, - and _, and starts with a letter or digit",
    "string_too_long": "may have at most {max_length} characters",
}
_FAMILY_OF = {"dataset": "datasets", "augmentation": "augmentations", "method": "methods", "backbone": "backbones"}
_WHERE_TO_LOOK = {  # required keys that sweeps/ablation.yaml does not show
    "low": "write both bounds, e.g. {low: 0.1, high: 10.0, log: true}",
    "high": "write both bounds, e.g. {low: 0.1, high: 10.0, log: true}",
    "from": "write the arm that it was made from, or leave generated out",
    "checkpoint": "see sweeps/imagenet_vicreg.yaml for an example",
    "family": "see sweeps/imagenet_vicreg.yaml for an example",
}


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """One of pydantic's error records as `must be …, but got …`."""
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return _missing(error["loc"], value)
    context = error.get("ctx", {})
    known = _EXPECTED.get(kind)
    message = known.format(**context) if known else error["msg"].removeprefix("Value error, ")
    if context.get("class_name") == "ComponentIn":
        message = "must be a name, or a mapping with a name"
    if value is None:
        return f"{message}, but nothing stands there"
    return f"{message}, but got {shown(value)}{_advice(kind, value, error['loc'])}"


def dotted(location: Sequence[Any]) -> str:
    """A place inside a file: `contrasts[2]`, `arms.e2mc.start`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).removeprefix(".")


def is_about(path: str, other: str) -> bool:
    """Whether one of two places is the other or lies inside it."""
    inner, outer = (path, other) if len(path) >= len(other) else (other, path)
    return inner == outer or (inner.startswith(outer) and inner[len(outer)] in ".[")


def _advice(kind: str, value: Any, location: Sequence[Any]) -> str:
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "; write a name, e.g. my-study" if tuple(location) == ("study",) else "; write it in quotes"
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        return f"; write {value:.0f}"
    return ""


def _missing(location: Sequence[Any], beside: Any) -> str:
    key, parent = str(location[-1]), str(location[-2]) if len(location) > 1 else ""
    near = get_close_matches(key, map(str, beside), n=1, cutoff=0.6) if isinstance(beside, Mapping) else []
    if near:
        return f"is missing; is {near[0]!r} meant?"
    if key == "name" and parent in _FAMILY_OF:
        return f"is missing; write one of {', '.join(registry.names(_FAMILY_OF[parent]))}"
    return f"is missing; {_WHERE_TO_LOOK.get(key, 'see sweeps/ablation.yaml for an example')}"
