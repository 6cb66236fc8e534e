"""What a sweep file would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from study.amounts import duration
from study.orchestration.cost import describe_disk, describe_time, speed_source
from study.orchestration.forecast import NOTHING, Forecast, forecast
from study.orchestration.outlook import PhaseOutlook, Slots
from study.orchestration.readiness import Readiness, Ready
from study.paths import HomePaths
from study.plan.expand import tuning_differences
from study.plan.model import Arm, Phase, Plan


def describe_all(ready: Readiness, home: HomePaths, images_per_second: float | None = None) -> str:
    """All studies of a command, and the warnings about them."""
    texts = [describe(study, home, ready.slots, images_per_second) for study in ready.studies]
    warnings = "\n".join(f"Warning: {warning}" for warning in ready.warnings)
    return "\n\n".join([*texts, *filter(None, [warnings])])


def describe(study: Ready, home: HomePaths, slots: Slots, images_per_second: float | None = None) -> str:
    """Arms (generated ones too), runs per phase, what is there already, and the expected time and disk."""
    plan, is_over = study.plan, not any(one.num_left for one in study.outlook.values())
    expected = NOTHING if is_over else forecast(plan, images_per_second)
    lines = [f"{plan.study}: {plan.question}", "", "Arms:"]
    width = max(len(arm.name) for arm in plan.arms)
    lines += [f"  {arm.name:{width}}  {_describe_arm(arm, plan)}" for arm in plan.arms]
    lines += ["", "Runs:", *_describe_runs(plan, study.outlook, expected)]
    if changed := tuning_differences(plan):
        lines.append(f"  Runs of tune have {', '.join(changed)}.")
    if is_over:
        lines += ["", "Nothing is left to do: all that the plan asks for is there."]
    else:
        lines += ["", *describe_time(study.outlook, expected, slots, speed_source(images_per_second))]
        lines.append(describe_disk(plan, home, study.outlook, slots, study.num_decoded_bytes))
    lines += ["", "Contrasts, one family, Holm on " + plan.primary + ":"]
    lines += [f"  {a} - {b}" for a, b in plan.contrasts]
    return "\n".join(lines).rstrip()


def _describe_runs(plan: Plan, outlook: Mapping[Phase, PhaseOutlook], expected: Forecast) -> Iterator[str]:
    for phase, one in outlook.items():
        training, evaluating = expected.training[phase], expected.evaluating[phase]
        is_base = phase is Phase.PREPARE
        each = f", about {duration(training + evaluating)} each" if training else ""
        there = f"{'trained' if plan.pretraining.epochs else 'made'} in this home already"
        parts = {
            there if is_base else "done": one.num_done,
            "shared with a study above" if is_base else "taken over from other studies": one.num_found,
            f"to train{each}" if training else "to make without training": one.num_to_train,
            f"only to evaluate, about {duration(evaluating)} each": one.num_to_evaluate,
        }
        text = "; ".join(f"{number} {what}" for what, number in parts.items() if number)
        yield f"  {phase:8} {one.num_runs:4d}{': ' if text else ''}{text}"


def _describe_arm(arm: Arm, plan: Plan) -> str:
    if not arm.continued:
        return "not continued"
    what = "continued without add-on" if arm.criterion.name == "none" else arm.criterion.name
    if arm.parent:
        changes = [f"without {', '.join(arm.dropped)}"] if arm.dropped else []
        changes += [f"with {name} = {value}" for name, value in arm.swapped.items()]
        what = f"{arm.parent} {', '.join(changes)} (generated)"
    if arm.inherits:
        return f"{what}; parameters of {arm.parent}'s winner"
    if arm.strength is not None:
        what += f", gradient scaled to {arm.strength:g} of the base loss's"
    ranges = [f"{name.rpartition('.')[2]} in [{r.low:g}, {r.high:g}]" for name, r in arm.space.items()]
    return f"{what}; {plan.tune.trials_per_arm} trials of {', '.join(ranges)}" if ranges else f"{what}; nothing tuned"
