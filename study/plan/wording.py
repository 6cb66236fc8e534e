"""What pydantic found, in the words of a sweep file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from study.errors import shown

_EXPECTED = {
    "string_type": "must be text",
    "invalid_key": "a key must be text",
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
_SCALARS = (bool, int, float)


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """One of pydantic's error records as `must be …, but got …`."""
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return _missing(str(error["loc"][-1]), value)
    context = error.get("ctx", {})
    known = _EXPECTED.get(kind)
    message = known.format(**context) if known else error["msg"].removeprefix("Value error, ")
    if context.get("class_name") == "ComponentIn":
        message = "must be a name, or a mapping with a name"
    if value is None:
        return f"{message}, but nothing stands there"
    advice = (
        f"; write {str(value)!r} in quotes"
        if kind in ("string_type", "invalid_key") and isinstance(value, _SCALARS)
        else ""
    )
    return f"{message}, but got {shown(value)}{advice}"


def dotted(location: Sequence[Any]) -> str:
    """A place inside a file: `contrasts[2]`, `arms.e2mc.start`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).removeprefix(".")


def is_about(path: str, other: str) -> bool:
    """Whether one of two places is the other or lies inside it."""
    inner, outer = (path, other) if len(path) >= len(other) else (other, path)
    return inner == outer or (inner.startswith(outer) and inner[len(outer)] in ".[")


def _missing(key: str, beside: Any) -> str:
    near = get_close_matches(key, map(str, beside), n=1, cutoff=0.6) if isinstance(beside, Mapping) else []
    return f"is missing; is {near[0]!r} meant?" if near else "is missing; see sweeps/ablation.yaml for an example"
