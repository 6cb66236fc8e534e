"""From raw keys to the schema's model; of a wrong file, as much as can be read, so that the rest is checked as well."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from study.errors import Problem, did_you_mean
from study.plan.keys import kind_at, known_keys
from study.plan.schema import CHOICES, IMPORTED, BaseIn, SweepIn
from study.plan.wording import dotted, what_is_wrong

_WHOLE = ("ablate", "contrasts")  # problems name positions in them, so no entry may go before another

_NUMERIC = (
    "int_type", "int_from_float", "float_type", "finite_number",
    "greater_than", "greater_than_equal", "less_than", "less_than_equal",
)  # fmt: skip
_LARGE = 2**30
_GONE = object()


def read_sweep(raw: Mapping[str, Any], problems: list[Problem]) -> SweepIn:
    """Validate a sweep file against the schema.

    Returns:
        The sweep. When something was added to `problems`, it lacks what is wrong: parts of sections, or whole
        sections, whose attributes are then missing (see `has`).
    """
    try:
        return SweepIn.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(e) for e in error.errors()]
    sections = {}
    for name, field in SweepIn.model_fields.items():
        section: Any = Annotated[field.annotation, field]
        adapter = TypeAdapter(section)
        holder = {name: copy.deepcopy(raw.get(name))}
        while holder.get(name) is not None:
            try:
                sections[name] = adapter.validate_python(holder[name])
                break
            except ValidationError as error:
                if not _mended(holder, name, error.errors()):
                    del holder[name]
    return SweepIn.model_construct(**sections)


def has(sweep: SweepIn, *sections: str) -> bool:
    """Whether these sections could be read."""
    return all(hasattr(sweep, section) for section in sections)


def _problem(error: Mapping[str, Any]) -> Problem:
    """A pydantic error in the words of a sweep file."""
    location = _location(error)
    if error["type"] == "extra_forbidden":
        if IMPORTED in error["loc"] and location[-1] in BaseIn.model_fields:
            message = "an imported base is not trained; leave it out, or leave checkpoint and family out"
            return Problem(dotted(location), message)
        known = known_keys(kind_at(location[:-1]))
        return Problem(dotted(location), f"unknown key {location[-1]!r}.{did_you_mean(str(location[-1]), known)}")
    return Problem(dotted(location), what_is_wrong(error))


def _location(error: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(part for part in error["loc"] if part not in (*CHOICES, "[key]"))


def _mended(holder: Any, section: str, errors: Sequence[Mapping[str, Any]]) -> bool:
    """Replace wrong numbers, which mappings may not go without, and remove the rest; False when nothing helped."""
    if section in _WHOLE:
        return False
    changed = False
    for error in sorted(errors, key=lambda e: _last_first(_location(e))):
        place = (section, *_location(error))
        number = _stand_in(error)
        if number is not None:
            changed |= _set(holder, place, number)
        else:
            changed |= _set(holder, place[:-1] if error["type"] == "missing" else place, _GONE)
    return changed


def _stand_in(error: Mapping[str, Any]) -> float | None:
    """A number that passes where another failed; so large that no seed or epoch of the file meets it."""
    if error["type"] not in _NUMERIC:
        return None
    bound = error.get("ctx", {}).get("lt", error.get("ctx", {}).get("le"))
    if bound is None or bound > _LARGE:
        return _LARGE
    return float(bound) / 2 if bound <= 1 else int(bound) // 2


def _last_first(place: Sequence[Any]) -> tuple[Any, ...]:
    """Sort key: inner places before outer ones, and the end of a list before its beginning."""
    return (-len(place), [-part if isinstance(part, int) else 0 for part in place])


def _set(holder: Any, place: Sequence[Any], value: Any) -> bool:
    """Set or remove what stands at a place; False when the place is not there, or went before."""
    *parents, last = place
    try:
        for part in parents:
            holder = holder[part]
        holder[last]
    except (KeyError, IndexError, TypeError):
        return False
    if value is _GONE:
        del holder[last]
    else:
        holder[last] = value
    return True
