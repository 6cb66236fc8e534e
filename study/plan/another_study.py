"""What to type after an arm came to nothing: another study, which tries lower values, or holds less in memory.

A study cannot be changed once runs of it exist. One of another name takes over its bases and all runs that are equal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict

from study.plan.model import Arm, Plan
from study.plan.space import FloatRange
from study.plan.yaml_out import typed

LR = "continuation.optimizer.lr"
_CRITERION, _CONTINUATION = "criterion.", "continuation."
_WIDTH, _MARGIN = 1e4, 2.0  # of the next range: high / low, and how far it lies below the smallest value that failed
_FIXED_MARGIN = 10.0


def overrides(plan: Plan, arm: Arm, failed: Mapping[str, float], kinds: Collection[str], *, for_all: bool) -> list[str]:
    """The `key=value` overrides of a study in which an arm may fare better; empty when nobody knows any.

    Args:
        plan: the study.
        arm: which one; of a generated arm, the one that it was generated from is changed.
        failed: dotted name → the smallest value that was tried.
        kinds: how its runs ended: `diverged`, `memory`, ….
        for_all: what all arms share is changed as well: no arm has a result.
    """
    size = _smaller_part(plan) if "memory" in kinds else None
    found = [f"numerics.micro_batch_size={size}"] if size else []
    if set(kinds) == {"memory"}:
        return found
    owner = plan.arm(arm.parent) if arm.parent is not None else arm
    lower = {name: _below(v) for name, v in failed.items() if v > 0 and is_pull(name) and name in owner.space}
    own = {name: bounds for name, bounds in lower.items() if name != LR}
    found += _own_range(owner, own) if own else _own_value(owner)
    if LR in lower and (for_all or not found):
        shared = {name: bounds for name, bounds in owner.space.items() if name.startswith(_CONTINUATION)}
        ranges = {name: asdict(bounds) for name, bounds in {**shared, LR: lower[LR]}.items()}
        found += [f"{LR}={typed(_middle(lower[LR]))}", f"tune.shared={typed(ranges)}"]
    elif not found:
        found = [f"{LR}={_tenth(plan.continuation.optimizer['lr'])}"]
    return found


def as_typed(added: Collection[str], study: str) -> str:
    """The overrides behind a command, with another name for the study."""
    stem, _, number = study.rpartition("-")
    name = f"{stem}-{int(number) + 1}" if stem and number.isdecimal() else f"{study}-2"
    by_key: dict[str, str] = {}
    for override in added:  # of two arms that were generated from one, the first speaks
        by_key.setdefault(override.partition("=")[0], override)
    return " ".join([f"study={name}", *(f"'{override}'" for override in by_key.values())])


def is_pull(name: str) -> bool:
    """Whether lower values of a parameter change less, down to 0, which cannot diverge."""
    return name in ("strength", LR) or name.endswith("weight")


def _own_range(owner: Arm, lower: Mapping[str, FloatRange]) -> list[str]:
    """The arm's ranges and its trial 0, where some ranges are lower."""
    own = [name for name in owner.space if not name.startswith(_CONTINUATION)]
    space = {_field(name): asdict(lower.get(name, owner.space[name])) for name in own}
    start = {_field(name): _middle(lower[name]) if name in lower else owner.start[name] for name in own}
    return [f"arms.{owner.name}.start={typed(start)}", f"arms.{owner.name}.space={typed(space)}"]


def _own_value(owner: Arm) -> list[str]:
    """Lower values for what is fixed in the arm; none when it is searched, or adds nothing."""
    if any(not name.startswith(_CONTINUATION) for name in owner.space):
        return []
    if owner.strength is not None:
        return [f"arms.{owner.name}.start={{}}", f"arms.{owner.name}.strength={_tenth(owner.strength)}"]
    weights = {k: v for k, v in owner.criterion.params.items() if is_pull(k) and isinstance(v, float) and v > 0}
    values = [f"arms.{owner.name}.{name}={_tenth(value)}" for name, value in weights.items()]
    return [f"arms.{owner.name}.start={{}}", *values] if values else []


def _below(value: float) -> FloatRange:
    """A wide range below a value, in two digits."""
    high = float(f"{value / _MARGIN:.1e}")
    return FloatRange(float(f"{high / _WIDTH:.1e}"), high, log=True)


def _middle(bounds: FloatRange) -> float:
    return float(f"{bounds.at(0.5):.1e}")


def _tenth(value: float) -> str:
    return typed(float(f"{value / _FIXED_MARGIN:.1e}"))


def _smaller_part(plan: Plan) -> int | None:
    """The largest part that divides all batches and is at most half of what is held at once."""
    sizes = [size for size in (plan.pretraining.batch_size, plan.continuation.batch_size) if size]
    most = (plan.numerics.get("micro_batch_size") or min(sizes)) // 2
    return next((size for size in range(most, 1, -1) if math.gcd(*sizes) % size == 0), None)


def _field(name: str) -> str:
    return name.removeprefix(_CRITERION)
