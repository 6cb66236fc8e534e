"""Arms that came to nothing, because all trials of a search or all confirming runs ended without a value: in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.plan.another_study import as_typed, is_pull, overrides
from study.plan.model import Arm, Phase, Plan
from study.plan.space import FloatRange
from study.plan.yaml_out import typed

_ENDED = {"diverged": "diverged", "memory": "ran out of memory", "pruned": "fell behind and was ended"}
_STEP = re.compile(r"step (\d+): ")
_MANY, _LONG = 4, 240


@dataclass(frozen=True)
class Loss:
    """A trial or a confirming run that ended without a value.

    Attributes:
        params: dotted name → value that was tried.
        failure: `<kind>: <message>`, e.g. `diverged: step 3: train/base_loss not finite`; "" when nothing says.
    """

    params: Mapping[str, float]
    failure: str

    @property
    def kind(self) -> str:
        """`diverged`, `memory`, …, or ""."""
        return self.failure.partition(":")[0]


@dataclass(frozen=True)
class Fruitless:
    """An arm without a result.

    Attributes:
        arm: its name.
        phase: where it ended: its search has no winner, or none of its confirming runs a value.
        heirs: arms that inherit its parameters, and so have no result either.
        what: what became of it, and which values were tried.
        short: the same in a few words.
        added: overrides of a study that tries something else, see `another_study`.
    """

    arm: str
    phase: Phase
    heirs: tuple[str, ...]
    what: str
    short: str
    added: tuple[str, ...]


def fruitless_search(plan: Plan, arm: Arm, losses: Sequence[Loss], *, for_all: bool) -> Fruitless:
    """Say that an arm's search is over and has no winner.

    Args:
        plan: the study.
        arm: which one.
        losses: its trials, none of which has an objective.
        for_all: no other search has a winner either.
    """
    heirs = tuple(other.name for other in plan.arms if other.inherits and other.parent == arm.name)
    tried = "; ".join(f"{_field(name)} {_values(losses, name)} of {_range(arm.space[name])}" for name in arm.space)
    also = f", and neither {'was' if len(heirs) == 1 else 'were'} {', '.join(heirs)}" if heirs else ""
    short = f"no winner: {_ends(losses, 'trial')}"
    what = f"{arm.name} has {short}{_reasons(losses)}. Tried: {tried}. It was not confirmed{also}."
    smallest = {name: min(loss.params[name] for loss in losses) for name in arm.space}
    added = overrides(plan, arm, smallest, {loss.kind for loss in losses}, for_all=for_all)
    return Fruitless(arm.name, Phase.TUNE, heirs, what, short, tuple(added))


def fruitless_confirmation(plan: Plan, arm: Arm, losses: Sequence[Loss]) -> Fruitless:
    """Say that none of an arm's confirming runs has a value, though its parameters are known."""
    fixed = {name: v for name, v in arm.criterion.params.items() if isinstance(v, float) and is_pull(name)}
    strength = {} if arm.strength is None else {"strength": arm.strength}
    values = {**fixed, **strength, **{_field(name): value for name, value in losses[0].params.items()}}
    shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
    short = f"no result: {_ends(losses, 'confirming run')}"
    what = f"{arm.name} has {short}{_reasons(losses)}{f', with {shown}' if shown else ''}."
    added = overrides(plan, arm, losses[0].params, {loss.kind for loss in losses}, for_all=False)
    return Fruitless(arm.name, Phase.CONFIRM, (), what, short, tuple(added))


def without_result(found: Sequence[Fruitless]) -> dict[str, str]:
    """Arm → why it has no result, in a few words; heirs too."""
    own = {one.arm: one.short for one in found}
    return own | {heir: f"no winner of {one.arm}" for one in found for heir in one.heirs}


def sentences(found: Sequence[Fruitless], plan: Plan) -> list[str]:
    """What became of each, and then how to go on."""
    said, added = [one.what for one in found], [override for one in found for override in one.added]
    if added:
        said.append(f"To try other values, add to the command: {as_typed(added, plan.study)}")
    return said


def _ends(losses: Sequence[Loss], noun: str) -> str:
    """`all 4 trials diverged`, or how many ended in which way."""
    kinds = Counter(_ENDED.get(loss.kind, "ended without a finite value") for loss in losses)
    if len(losses) == 1:
        return f"its only {noun} {next(iter(kinds))}"
    if len(kinds) == 1:
        return f"all {len(losses)} {noun}s {next(iter(kinds)).replace('was', 'were')}"
    return f"of {len(losses)} {noun}s " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _reasons(losses: Sequence[Loss]) -> str:
    """Their messages in brackets, equal ones of different steps as one, the most frequent first."""
    steps: dict[str, list[int]] = {}
    counts: Counter[str] = Counter()
    for message in (loss.failure.partition(": ")[2] for loss in losses):
        m = _STEP.match(message)
        rest = " ".join((message[m.end() :] if m else message).split())
        steps.setdefault(rest, []).extend([int(m[1])] if m else [])
        counts[rest] += bool(rest)
    told = [(rest, count) for rest, count in counts.most_common() if count]
    parts = [
        (f"{count} × " if len(told) > 1 else "")
        + _when(steps[rest])
        + (rest if len(rest) <= _LONG else rest[:_LONG] + "…")
        for rest, count in told[:2]
    ]
    others = len(told) - 2
    more = [f"{others} other message{'s' if others > 1 else ''}"] if others > 0 else []
    return f" ({'; '.join([*parts, *more])})" if parts else ""


def _when(steps: Iterable[int]) -> str:
    found = sorted(set(steps))
    if len(found) > 1:
        return f"steps {found[0]} to {found[-1]}: "
    return f"step {found[0]}: " if found else ""


def _values(losses: Sequence[Loss], name: str) -> str:
    values = [f"{loss.params[name]:.3g}" for loss in losses]
    few = ", ".join(dict.fromkeys(values))
    numbers = [loss.params[name] for loss in losses]
    return few if len(values) <= _MANY else f"{min(numbers):.3g} to {max(numbers):.3g}"


def _range(bounds: FloatRange) -> str:
    return f"[{typed(bounds.low)}, {typed(bounds.high)}]"


def _field(name: str) -> str:
    return name.rpartition(".")[2]
