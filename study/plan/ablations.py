"""Arms generated from another arm: one component left out, one kept alone, or one field changed, at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from study import registry
from study.errors import Problem, did_you_mean
from study.plan import components
from study.plan.model import Arm, Component
from study.plan.schema import ALL, AblateIn, ArmIn
from study.plan.spaces import STRENGTH
from study.plan.yaml_out import typed


def generate(parent: Arm, rule: AblateIn, path: str, problems: list[Problem]) -> list[Arm]:
    """The arms that a rule makes of `parent`, in the order of the file; what cannot be made is a problem.

    Args:
        parent: the arm that is changed.
        rule: what to leave out, and what to change.
        path: where the rule stands in the file.
        problems: every problem found is appended here.
    """
    if not parent.continued:
        problems.append(Problem(f"{path}.arm", f"{parent.name!r} is not continued; it has nothing to leave out"))
        return []
    if not rule.drop and not rule.add and not rule.swap:
        message = "needs drop or add (a list of components, or all), or swap (field: other value)"
        problems.append(Problem(path, message))
        return []
    inherits = rule.weights == "inherited"
    if (rule.drop or rule.add) and parent.strength is not None and (inherits or STRENGTH not in parent.space):
        message = f"{parent.name} has a strength, which would give what is left of it more weight than it has there; "
        if STRENGTH in parent.space:
            message += "write weights: tuned, so that each has its own"
        else:
            message += "search it (start in place of strength, weights: tuned), or set weights instead of a strength"
        problems.append(Problem(f"{path}.{'drop' if rule.drop else 'add'}", message))
        return []
    return [
        replace(arm, inherits=inherits)
        for arm in (
            *_without(parent, rule.drop, f"{path}.drop", problems, keep=False),
            *_without(parent, rule.add, f"{path}.add", problems, keep=True),
            *_swapped(parent, rule, path, problems),
        )
    ]


def restored(arms: Mapping[str, Arm | None], name: str, given: ArmIn, problems: list[Problem]) -> Arm | None:
    """The arm `name` with what a frozen file says of the rule that had generated it.

    Args:
        arms: all declared arms.
        name: which one.
        given: its entry in the file.
        problems: every problem found is appended here.
    """
    arm, told, path = arms[name], given.generated, f"arms.{name}.generated"
    if arm is None or told is None:
        return arm
    parent = arms.get(told.from_)
    if parent is None or told.from_ == name or parent.criterion.name != arm.criterion.name:
        if told.from_ not in arms or told.from_ == name:
            others = [other for other in arms if other != name]
            problems.append(Problem(f"{path}.from", f"no other arm {told.from_!r}.{did_you_mean(told.from_, others)}"))
        elif parent is not None:
            message = f"{parent.name} has the criterion {parent.criterion.name}, but {name} has {arm.criterion.name}"
            problems.append(Problem(f"{path}.from", message))
        return arm
    before = len(problems)
    parts = registry.component("criteria", arm.criterion.name).components
    for index, part in enumerate(told.dropped):
        if part not in parts:
            message = f"{arm.criterion.name} has no component {part!r}.{did_you_mean(part, parts)}"
            problems.append(Problem(f"{path}.dropped[{index}]", message))
        elif any(arm.criterion.params[field] != value for field, value in parts[part].items()):
            off = ", ".join(f"{field}: {typed(value)}" for field, value in parts[part].items())
            problems.append(Problem(f"{path}.dropped[{index}]", f"{part} is not switched off in {name}; write {off}"))
    for index, field in enumerate(told.swapped):
        if field not in arm.criterion.params:
            message = f"{arm.criterion.name} has no field {field!r}.{did_you_mean(field, arm.criterion.params)}"
            problems.append(Problem(f"{path}.swapped[{index}]", message))
    if len(problems) > before:
        return arm
    return replace(
        arm,
        parent=parent.name,
        dropped=tuple(told.dropped),
        swapped={field: arm.criterion.params[field] for field in told.swapped},
        inherits=told.weights == "inherited",
    )


def _without(parent: Arm, given: list[str], path: str, problems: list[Problem], *, keep: bool) -> Iterator[Arm]:
    """Leave each of the named components out, or everything but it."""
    parts = registry.component("criteria", parent.criterion.name).components
    if given == [ALL] and not parts:
        problems.append(Problem(path, f"{parent.criterion.name} has no components to leave out"))
    names = list(parts) if given == [ALL] else given
    there = [part for part in parts if any(parent.criterion.params[f] != value for f, value in parts[part].items())]
    for index, part in enumerate(names):
        where = path if given == [ALL] else f"{path}[{index}]"
        if part == ALL:
            problems.append(
                Problem(where, f"{ALL} says that every component is meant; write {path[-4:].lstrip('.')}: {ALL}")
            )
        elif part not in parts:
            message = f"{parent.criterion.name} has no component {part!r}.{did_you_mean(part, there)}"
            problems.append(Problem(where, message))
        elif part in names[:index]:
            problems.append(Problem(where, f"{part!r} stands there twice; keep one"))
        elif part not in there:
            what = "be added alone" if keep else "be left out"
            problems.append(Problem(where, f"{parent.name} has no {part} that could {what}; leave it out here"))
        elif keep and there == [part]:
            problems.append(
                Problem(
                    where, f"{parent.name} has no component but {part}; the arm would be its twin; leave it out here"
                )
            )
        else:
            dropped = tuple(other for other in there if (other != part) == keep)
            fields = {field: value for other in dropped for field, value in parts[other].items()}
            yield replace(_changed(parent, f"{'only' if keep else 'no'}-{part}", fields), dropped=dropped)


def _swapped(parent: Arm, rule: AblateIn, path: str, problems: list[Problem]) -> Iterator[Arm]:
    """A list holds several values, each of which makes an arm; a value that is a list itself stands in a list."""
    for field, given in rule.swap.items():
        values = given if isinstance(given, list) else [given]
        if not values:
            problems.append(Problem(f"{path}.swap.{field}", "holds no value; leave it out"))
        for index, value in enumerate(values):
            where = f"{path}.swap.{field}" + (f"[{index}]" if isinstance(given, list) else "")
            criterion = _resolved(parent, field, value, where, problems)
            if criterion is None:
                continue
            found = criterion.params[field]
            if found == parent.criterion.params[field]:
                problems.append(Problem(where, f"{parent.name} has {typed(found)} already; leave it out"))
            elif field in registry.component("criteria", criterion.name).reported_fields:
                problems.append(
                    Problem(where, "changes reported values alone, so the arm would be its parent's twin; leave it out")
                )
            else:
                yield replace(_changed(parent, f"{field}-{_word(found)}", {field: found}), swapped={field: found})


def _resolved(parent: Arm, field: str, value: Any, where: str, problems: list[Problem]) -> Component | None:
    """The parent's criterion with another value of a field, or None after adding to `problems`."""
    name, before = parent.criterion.name, len(problems)
    found = components.resolve("criteria", name, {**parent.criterion.params, field: value}, "", problems)
    problems[before:] = [Problem(where, problem.message) for problem in problems[before:]]
    return None if found is None else found[0]


def _changed(parent: Arm, suffix: str, fields: Mapping[str, Any]) -> Arm:
    """The parent with other values of some fields, which are not tuned any more."""
    gone = {f"criterion.{field}" for field in fields}
    return replace(
        parent,
        name=f"{parent.name}-{suffix}",
        criterion=replace(parent.criterion, params={**parent.criterion.params, **fields}),
        space={key: r for key, r in parent.space.items() if key not in gone},
        start={key: value for key, value in parent.start.items() if key not in gone},
        parent=parent.name,
    )


def _word(value: Any) -> str:
    """A value inside the name of an arm."""
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value).lower()
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
