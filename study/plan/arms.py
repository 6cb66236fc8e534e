"""The arms of a sweep file: declared ones resolved, ablations generated, search spaces put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from study import registry
from study.errors import Problem, did_you_mean
from study.plan import components
from study.plan.model import Arm, Component
from study.plan.salvage import has
from study.plan.schema import AblateIn, ArmIn, RangeIn, SweepIn
from study.plan.space import FloatRange

_SHARABLE = ("lr", "weight_decay")
_OWN_KEYS = ("continue", "criterion", "start", "space")


def resolve(sweep: SweepIn, raw: Mapping[str, Any], problems: list[Problem]) -> list[Arm]:
    """All arms that can be resolved, in the order of the file, each generated one after the arm it comes from.

    Args:
        sweep: what could be read of the sweep file.
        raw: its keys, unreadable ones too.
        problems: every problem found is appended here.
    """
    shared = _shared_space(sweep, problems) if has(sweep, "tune") else {}
    if not has(sweep, "arms"):
        return []
    start = _shared_start(sweep, shared, problems) if has(sweep, "continuation") else {}
    shared = {key: shared[key] for key in start}
    declared = {name: _declared(name, arm, shared, start, problems) for name, arm in sweep.arms.items()}
    arms = [arm for arm in declared.values() if arm is not None]
    rules = sweep.ablate if isinstance(sweep.ablate, list) else [sweep.ablate]
    for index, rule in enumerate(rules):
        path = f"ablate[{index}]" if isinstance(sweep.ablate, list) else "ablate"
        parent = declared.get(rule.arm)
        if rule.arm not in raw["arms"]:
            problems.append(Problem(f"{path}.arm", f"no arm {rule.arm!r}.{did_you_mean(rule.arm, declared)}"))
        elif parent is not None:
            generated = _leave_one_out(parent, rule, path, problems)
            at = arms.index(parent) + 1
            arms[at:at] = generated
    for name, count in Counter(arm.name for arm in arms).items():
        if count > 1:
            why = "declared and generated; rename the declared one" if name in declared else "generated twice; keep one"
            problems.append(Problem(f"arms.{name}", f"is {why}"))
    _check_controls(sweep, problems)
    return arms


def _declared(
    name: str, arm: ArmIn, shared: Mapping[str, FloatRange], shared_start: Mapping[str, float], problems: list[Problem]
) -> Arm | None:
    path = f"arms.{name}"
    fixed = dict(arm.model_extra or {})
    if not arm.continue_:
        given = [*fixed, *(key for key in ("criterion", "start", "space") if getattr(arm, key))]
        for key in given:
            problems.append(
                Problem(f"{path}.{key}", "an arm with continue: false has no criterion to set up; leave it out")
            )
        return Arm(name, continued=False, criterion=Component("none"))
    if arm.criterion is None:
        problems.append(Problem(path, _needs_criterion(fixed)))
        return None
    both = [key for key in arm.start if key in fixed]
    problems += [Problem(f"{path}.start.{key}", "stands among the fixed fields too; keep one") for key in both]
    before = len(problems)
    found = components.resolve(
        "criteria", arm.criterion, {**arm.start, **fixed}, path, problems,
        name_path=f"{path}.criterion", other_keys=_OWN_KEYS,
    )  # fmt: skip
    if found is None:
        _place_start_problems(problems, before, path, arm)
        return None
    criterion, instance = found
    space = _own_space(arm, instance, fixed, path, problems)
    start = {f"criterion.{key}": float(criterion.params[key]) for key in space}
    full = {f"criterion.{key}": r for key, r in space.items()}
    for key, value in start.items():
        problems += _outside(f"{path}.start.{key.removeprefix('criterion.')}", value, full[key])
    return Arm(name, continued=True, criterion=criterion, space={**full, **shared}, start={**start, **shared_start})


def _needs_criterion(given: Mapping[str, Any]) -> str:
    near = [(key, close[0]) for key in given if (close := get_close_matches(key, _OWN_KEYS, n=1))]
    hint = "".join(f" Is {right!r} meant by {key!r}?" for key, right in near)
    return f"needs a criterion ({', '.join(registry.names('criteria'))}), or continue: false.{hint}"


def _outside(path: str, value: float, bounds: FloatRange) -> list[Problem]:
    """Trial 0 must lie in its range."""
    if value in bounds:
        return []
    return [
        Problem(
            path, f"trial 0 starts at {value:g}, outside of its range [{bounds.low:g}, {bounds.high:g}]; change one"
        )
    ]


def _place_start_problems(problems: list[Problem], before: int, path: str, arm: ArmIn) -> None:
    """Problems of start values stand under `start` in the file."""
    for index in range(before, len(problems)):
        key = problems[index].path.removeprefix(f"{path}.")
        if key in arm.start:
            problems[index] = Problem(f"{path}.start.{key}", problems[index].message)


def _own_space(
    arm: ArmIn, instance: Any, fixed: Mapping[str, Any], path: str, problems: list[Problem]
) -> dict[str, FloatRange]:
    """What the arm tunes: its `space`, else what its criterion declares; never a field that the file fixes."""
    if arm.space is None:
        space = {key: r for key, r in instance.search_space.items() if key not in fixed}
    else:
        space = _ranges(arm.space, f"{path}.space", problems)
        fields = vars(instance)
        for key in space:
            if key not in fields:
                message = f"{arm.criterion} has no field {key!r} to tune.{did_you_mean(key, fields)}"
                problems.append(Problem(f"{path}.space.{key}", message))
            elif key in fixed:
                problems.append(Problem(f"{path}.space.{key}", "is fixed in the same arm; move its value to start"))
            elif not isinstance(fields[key], float):
                problems.append(Problem(f"{path}.space.{key}", f"is {fields[key]!r}, not a number with a range"))
        space = {key: r for key, r in space.items() if isinstance(fields.get(key), float)}
        for key, r in space.items():
            problems += _refused_bounds(f"{path}.space.{key}", instance, key, r)
    for key in arm.start:
        if key not in space:
            message = f"is not tuned, so it has no start; write {key}: {arm.start[key]:g} beside criterion to fix it"
            problems.append(Problem(f"{path}.start.{key}", message))
    return space


def _refused_bounds(path: str, instance: Any, key: str, bounds: FloatRange) -> list[Problem]:
    """A search must not propose what the criterion refuses."""
    for value in (bounds.low, bounds.high):
        try:
            replace(instance, **{key: value})
        except ValueError as error:
            return [Problem(path, f"[{bounds.low:g}, {bounds.high:g}] holds values that are refused: {error}")]
    return []


def _shared_space(sweep: SweepIn, problems: list[Problem]) -> dict[str, FloatRange]:
    known = [f"continuation.optimizer.{key}" for key in _SHARABLE]
    for key in sweep.tune.shared:
        if key not in known:
            problems.append(Problem(f"tune.shared.{key}", f"cannot be tuned.{did_you_mean(key, known)}"))
    ranges = _ranges(sweep.tune.shared, "tune.shared", problems)
    for key, r in ranges.items():
        if r.low < 0 or (r.low == 0 and key.endswith(".lr")):
            problems.append(Problem(f"tune.shared.{key}.low", f"must be above 0, but got {r.low:g}"))
    return {key: r for key, r in ranges.items() if key in known}


def _shared_start(sweep: SweepIn, shared: Mapping[str, FloatRange], problems: list[Problem]) -> dict[str, float]:
    """Where every arm's trial 0 starts: the continuation's own settings."""
    settings = sweep.continuation.optimizer.model_dump()
    start = {key: float(settings[key.rpartition(".")[2]]) for key in shared}
    for key, value in start.items():
        problems += _outside(key, value, shared[key])
    return start


def _ranges(given: Mapping[str, RangeIn], path: str, problems: list[Problem]) -> dict[str, FloatRange]:
    ranges = {}
    for key, r in given.items():
        try:
            ranges[key] = FloatRange(r.low, r.high, r.log)
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}", str(error)))
    return ranges


def _leave_one_out(parent: Arm, rule: AblateIn, path: str, problems: list[Problem]) -> list[Arm]:
    if not parent.continued:
        problems.append(Problem(f"{path}.arm", f"{parent.name!r} is not continued; it has nothing to leave out"))
        return []
    parts = registry.component("criteria", parent.criterion.name).components
    generated = []
    for index, part in enumerate(rule.drop):
        if part not in parts or part in rule.drop[:index]:
            what = f"{parent.criterion.name} has no component {part!r}" if part not in parts else f"{part!r} twice"
            problems.append(Problem(f"{path}.drop[{index}]", f"{what}.{did_you_mean(part, parts)}"))
            continue
        off = parts[part]
        gone = {f"criterion.{key}" for key in off}
        generated.append(
            replace(
                parent,
                name=f"{parent.name}-no-{part}",
                criterion=Component(parent.criterion.name, {**parent.criterion.params, **off}),
                space={key: r for key, r in parent.space.items() if key not in gone},
                start={key: v for key, v in parent.start.items() if key not in gone},
                parent=parent.name,
                dropped=(part,),
                inherits=rule.weights == "inherited",
            )
        )
    return generated


def _check_controls(sweep: SweepIn, problems: list[Problem]) -> None:
    if all(arm.continue_ for arm in sweep.arms.values()):
        problems.append(Problem("arms", "no arm is left as it is; add  base: {continue: false}"))
    if not any(arm.continue_ and arm.criterion == "none" for arm in sweep.arms.values()):
        problems.append(Problem("arms", "no arm is continued without add-on; add  continued: {criterion: none}"))
