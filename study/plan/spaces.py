"""What is tuned of an arm, in which ranges, and where its search starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.errors import Problem, did_you_mean
from study.plan.schema import ArmIn, RangeIn, SweepIn
from study.plan.space import STRENGTH_RANGE, FloatRange
from study.plan.yaml_out import typed

STRENGTH = "strength"
_FIXED = "is fixed in the same arm; move its value to start"
_SHARABLE = ("lr", "weight_decay")


def outside(path: str, value: float, bounds: FloatRange) -> list[Problem]:
    """Trial 0 must lie in its range."""
    if value in bounds:
        return []
    range_ = f"[{typed(bounds.low)}, {typed(bounds.high)}]"
    message = (
        f"trial 0 starts at {typed(value)}, outside of its range {range_}; write a value in it, or widen the range"
    )
    return [Problem(path, message)]


def _has_strength(arm: ArmIn) -> bool:
    return arm.strength is not None or STRENGTH in arm.start


def check_strength(arm: ArmIn, instance: Any, fixed: Mapping[str, Any], path: str, problems: list[Problem]) -> None:
    """A strength needs a criterion that pulls, and takes the place of a weight that stands alone."""
    if not _has_strength(arm):
        return
    where = f"{path}.strength" if arm.strength is not None else f"{path}.start.strength"
    weights = {name: value for name, value in vars(instance).items() if name.endswith("weight")}
    if arm.criterion == "none":
        problems.append(Problem(where, "none adds nothing, so it has no strength; leave it out"))
    elif arm.start.get(STRENGTH, 1.0) <= 0:
        problems.append(Problem(where, f"must be above 0, but got {typed(arm.start[STRENGTH])}"))
    elif not any(weights.values()):
        problems.append(
            Problem(where, f"no scale gives strength to a criterion whose {', '.join(weights)} is 0; set one above 0")
        )
    elif len(weights) == 1:
        (weight,) = weights
        given = {"": fixed, "start.": arm.start, "space.": arm.space or {}}
        places = [f"{prefix}{weight}" for prefix, keys in given.items() if weight in keys]
        message = "the strength takes its place, whatever its value; leave it out"
        problems += [Problem(f"{path}.{place}", message) for place in places]


def strength_space(arm: ArmIn, path: str, problems: list[Problem]) -> dict[str, FloatRange]:
    """The range of the arm's strength, if it is tuned."""
    own = {key: r for key, r in (arm.space or {}).items() if key == STRENGTH}
    if own and STRENGTH not in arm.start:
        message = _FIXED if arm.strength else "needs a value in start; write start: {strength: 1.0}"
        problems.append(Problem(f"{path}.space.{STRENGTH}", message))
        return {}
    if STRENGTH not in arm.start:
        return {}
    found = _ranges(own, f"{path}.space", problems) if own else {STRENGTH: STRENGTH_RANGE}
    for key, r in found.items():
        if r.low <= 0:
            problems.append(Problem(f"{path}.space.{key}.low", f"must be above 0, but got {typed(r.low)}"))
    return found


def own_space(
    arm: ArmIn, instance: Any, fixed: Mapping[str, Any], path: str, problems: list[Problem]
) -> dict[str, FloatRange]:
    """What the arm tunes of its criterion: its `space`, else what the criterion declares; never a fixed field.

    Where a strength replaces the weights, only `space` can add fields to the search.
    """
    if arm.space is None:
        declared = {} if _has_strength(arm) else instance.search_space
        space = {key: r for key, r in declared.items() if key not in fixed}
    else:
        own = {key: r for key, r in arm.space.items() if key != STRENGTH}
        space = _ranges(own, f"{path}.space", problems)
        fields = vars(instance)
        for key in space:
            if key not in fields:
                real = [name for name, value in fields.items() if isinstance(value, float)]
                message = f"{arm.criterion} has no field {key!r} to tune.{did_you_mean(key, real)}"
                problems.append(Problem(f"{path}.space.{key}", message))
            elif key in fixed:
                problems.append(Problem(f"{path}.space.{key}", _FIXED))
            elif not isinstance(fields[key], float):
                message = f"is {typed(fields[key])}, and a search samples real numbers alone; leave it out"
                problems.append(Problem(f"{path}.space.{key}", message))
        space = {key: r for key, r in space.items() if isinstance(fields.get(key), float)}
        for key, r in space.items():
            problems += _refused_bounds(f"{path}.space.{key}", instance, key, r)
    replaced = _replaced_weight(arm, instance)
    for key in arm.start:
        if key not in space and key not in (STRENGTH, replaced):
            value = typed(getattr(instance, key))
            message = f"is not tuned, so it has no start; write {key}: {value} beside criterion to fix it"
            problems.append(Problem(f"{path}.start.{key}", message))
    return space


def _replaced_weight(arm: ArmIn, instance: Any) -> str | None:
    """The only weight of a criterion that has a strength instead."""
    weights = [name for name in vars(instance) if name.endswith("weight")]
    return weights[0] if _has_strength(arm) and len(weights) == 1 else None


def _refused_bounds(path: str, instance: Any, key: str, bounds: FloatRange) -> list[Problem]:
    """A search must not propose what the criterion refuses."""
    for value in (bounds.low, bounds.high):
        try:
            replace(instance, **{key: value})
        except ValueError as error:
            message = f"[{typed(bounds.low)}, {typed(bounds.high)}] holds values that are refused: {error}"
            return [Problem(path, message)]
    return []


def shared_space(sweep: SweepIn, problems: list[Problem]) -> dict[str, FloatRange]:
    """What every arm tunes."""
    if sweep.tune is None:
        return {}
    known = [f"continuation.optimizer.{key}" for key in _SHARABLE]
    for key in sweep.tune.shared:
        if key not in known:
            problems.append(Problem(f"tune.shared.{key}", f"cannot be tuned.{did_you_mean(key, known)}"))
    ranges = _ranges(sweep.tune.shared, "tune.shared", problems)
    for key, r in ranges.items():
        if r.low < 0 or (r.low == 0 and key.endswith(".lr")):
            least = "above" if key.endswith(".lr") else "at least"
            problems.append(Problem(f"tune.shared.{key}.low", f"must be {least} 0, but got {typed(r.low)}"))
    return {key: r for key, r in ranges.items() if key in known}


def shared_start(sweep: SweepIn, shared: Mapping[str, FloatRange], problems: list[Problem]) -> dict[str, float]:
    """Where every arm's trial 0 starts: the continuation's own settings."""
    settings = sweep.continuation.optimizer.model_dump()
    start = {key: float(settings[key.rpartition(".")[2]]) for key in shared}
    for key, value in start.items():
        problems += outside(key, value, shared[key])
    return start


def _ranges(given: Mapping[str, RangeIn], path: str, problems: list[Problem]) -> dict[str, FloatRange]:
    ranges = {}
    for key, r in given.items():
        try:
            ranges[key] = FloatRange(r.low, r.high, r.log)
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}", f"{error}; {_better_range(key, r, path)}"))
    return ranges


def _better_range(key: str, given: RangeIn, path: str) -> str:
    """What to write in place of a range that is none."""
    if given.low > given.high:
        return f"write {typed({'low': given.high, 'high': given.low, 'log': given.log})}"
    if given.low < given.high:
        return f"write {typed({'low': given.low, 'high': given.high, 'log': False})}, or a low above 0"
    if path == "tune.shared":
        return f"to fix it, leave it out here and write {key}: {typed(given.low)}"
    return f"to fix it, leave it out here and in start, and write {key}: {typed(given.low)} beside criterion"
