"""The arms of a sweep file: declared ones resolved, ablations generated, search spaces put together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from study import registry
from study.errors import Problem, did_you_mean
from study.plan import ablations, components, spaces
from study.plan.model import Arm, Component
from study.plan.salvage import has
from study.plan.schema import MAX_NAME, ArmIn, SweepIn
from study.plan.space import FloatRange

_OWN_KEYS = ("continue", "criterion", "preset", "strength", "start", "space", "generated")


def resolve(sweep: SweepIn, raw: Mapping[str, Any], problems: list[Problem]) -> list[Arm]:
    """All arms that can be resolved, in the order of the file, each generated one after the arm it comes from.

    Args:
        sweep: what could be read of the sweep file.
        raw: its keys, unreadable ones too.
        problems: every problem found is appended here.
    """
    shared = spaces.shared_space(sweep, problems) if has(sweep, "tune") else {}
    if not has(sweep, "arms"):
        return []
    start = spaces.shared_start(sweep, shared, problems) if has(sweep, "continuation") else {}
    shared = {key: shared[key] for key in start}
    is_searched = not has(sweep, "tune") or sweep.tune is not None
    declared = {
        name: _declared(name, arm, shared, start, problems, is_searched=is_searched) for name, arm in sweep.arms.items()
    }
    for name, arm in sweep.arms.items():
        declared[name] = ablations.restored(declared, name, arm, problems)
    arms = [arm for arm in declared.values() if arm is not None]
    rules = sweep.ablate if isinstance(sweep.ablate, list) else [sweep.ablate]
    for index, rule in enumerate(rules):
        path = f"ablate[{index}]" if isinstance(sweep.ablate, list) else "ablate"
        parent = declared.get(rule.arm)
        if rule.arm not in raw["arms"]:
            continued = [name for name, arm in sweep.arms.items() if arm.continue_]
            problems.append(Problem(f"{path}.arm", f"no arm {rule.arm!r}.{did_you_mean(rule.arm, continued)}"))
        elif parent is not None:
            generated = ablations.generate(parent, rule, path, problems)
            at = arms.index(parent) + 1
            arms[at:at] = generated
    problems += [
        Problem(f"arms.{arm.name}", f"is a name longer than {MAX_NAME} characters; give {arm.parent} a shorter one")
        for arm in arms
        if arm.parent and len(arm.name) > MAX_NAME
    ]
    for name, count in Counter(arm.name for arm in arms).items():
        if count > 1:
            why = "declared and generated; rename the declared one" if name in declared else "generated twice; keep one"
            problems.append(Problem(f"arms.{name}", f"is {why}"))
    _check_twins(arms, problems)
    _check_controls(sweep, raw, problems)
    return arms


def _check_twins(arms: list[Arm], problems: list[Problem]) -> None:
    """Two generated arms that would train the same, such as one component left out of two and the other kept alone."""
    for index, arm in enumerate(arms):
        for other in arms[:index]:
            if arm.parent and other.parent and replace(arm, name=other.name, dropped=other.dropped) == other != arm:
                message = f"{arm.name} is the same as {other.name}; keep one of them"
                problems.append(Problem(f"arms.{arm.name}", message))


def _declared(
    name: str, arm: ArmIn, shared: Mapping[str, FloatRange], shared_start: Mapping[str, float], problems: list[Problem],
    *, is_searched: bool,
) -> Arm | None:  # fmt: skip
    path = f"arms.{name}"
    fixed = dict(arm.model_extra or {})
    if not arm.continue_:
        given = [*fixed, *(key for key in _OWN_KEYS[1:] if getattr(arm, key))]
        for key in given:
            problems.append(
                Problem(f"{path}.{key}", "an arm with continue: false has no criterion to set up; leave it out")
            )
        return Arm(name, continued=False, criterion=Component("none"))
    if arm.criterion is None:
        problems.append(Problem(path, _needs_criterion(fixed)))
        return None
    both = [key for key in arm.start if key in fixed or (key == spaces.STRENGTH and arm.strength is not None)]
    problems += [Problem(f"{path}.start.{key}", "stands among the fixed fields too; keep one") for key in both]
    before = len(problems)
    preset = _preset(arm, path, problems)
    own_start = {key: value for key, value in arm.start.items() if key != spaces.STRENGTH}
    start_fields = {key: int(value) if value.is_integer() else value for key, value in own_start.items()}
    found = components.resolve(
        "criteria", arm.criterion, {**preset, **start_fields, **fixed}, path, problems,
        name_path=f"{path}.criterion", other_keys=_OWN_KEYS,
    )  # fmt: skip
    if found is None:
        _place_start_problems(problems, before, path, arm)
        return None
    criterion, instance = found
    spaces.check_strength(arm, instance, fixed, path, problems)
    space = spaces.own_space(arm, instance, fixed, path, problems) if is_searched else {}
    strength = spaces.strength_space(arm, path, problems) if is_searched else {}
    if arm.space and not is_searched:
        problems.append(Problem(f"{path}.space", "nothing is searched with tune: none; leave it out, or set up tune"))
    start = {f"criterion.{key}": float(criterion.params[key]) for key in space} | {
        key: arm.start[key] for key in strength
    }
    full = {f"criterion.{key}": r for key, r in space.items()} | strength
    for key, value in start.items():
        problems += spaces.outside(f"{path}.start.{key.removeprefix('criterion.')}", value, full[key])
    return Arm(
        name,
        continued=True,
        criterion=criterion,
        strength=arm.start.get(spaces.STRENGTH, arm.strength),
        space={**full, **shared},
        start={**start, **shared_start},
    )


def _preset(arm: ArmIn, path: str, problems: list[Problem]) -> Mapping[str, Any]:
    """The values of the arm's preset, which everything else in the arm overrides."""
    if arm.preset is None or arm.criterion not in registry.names("criteria"):
        return {}
    known = registry.component("criteria", arm.criterion).presets
    if arm.preset not in known:
        message = f"{arm.criterion} has no preset {arm.preset!r}.{did_you_mean(arm.preset, known)}"
        problems.append(Problem(f"{path}.preset", message))
    values: Mapping[str, Any] = known.get(arm.preset, {})
    return values


def _needs_criterion(given: Mapping[str, Any]) -> str:
    near = [(key, close[0]) for key in given if (close := get_close_matches(key, _OWN_KEYS, n=1))]
    hint = "".join(f" Is {right!r} meant by {key!r}?" for key, right in near)
    return f"needs a criterion ({', '.join(registry.names('criteria'))}), or continue: false.{hint}"


def _place_start_problems(problems: list[Problem], before: int, path: str, arm: ArmIn) -> None:
    """Problems of start values stand under `start` in the file."""
    for index in range(before, len(problems)):
        key = problems[index].path.removeprefix(f"{path}.")
        if key in arm.start:
            problems[index] = Problem(f"{path}.start.{key}", problems[index].message)


def _check_controls(sweep: SweepIn, raw: Mapping[str, Any], problems: list[Problem]) -> None:
    if all(arm.continue_ for arm in sweep.arms.values()):
        name = _unused("base", raw)
        problems.append(Problem("arms", f"no arm is left as it is; add  {name}: {{continue: false}}"))
    if not any(arm.continue_ and arm.criterion == "none" for arm in sweep.arms.values()):
        name = _unused("continued", raw)
        problems.append(Problem("arms", f"no arm is continued without add-on; add  {name}: {{criterion: none}}"))


def _unused(name: str, raw: Mapping[str, Any]) -> str:
    """A name like this one that no arm of the file has."""
    others = (f"{name}-{number}" for number in itertools.count(2))
    return next(other for other in itertools.chain([name], others) if other not in raw["arms"])
