"""What a sweep file would do, without doing it."""

from __future__ import annotations

from study.errors import StudyError
from study.orchestration.actions import check_plan
from study.orchestration.board import duration
from study.orchestration.cost import describe_cost, speed_source
from study.orchestration.forecast import count_runs, forecast
from study.orchestration.preflight import warnings
from study.orchestration.status import study_status
from study.paths import HomePaths
from study.plan.expand import tuning_differences
from study.plan.model import Arm, Phase, Plan


def describe(plan: Plan, home: HomePaths, images_per_second: float | None = None) -> str:
    """Arms (generated ones too), runs per phase, what is done already, and the expected time.

    Raises:
        HomeError: the study's folder holds another plan, so that a real run would be refused.
    """
    check_plan(home.study(plan.study), plan)
    counts = count_runs(plan)
    expected = forecast(plan, images_per_second)
    lines = [f"{plan.study}: {plan.question}", "", "Arms:"]
    width = max(len(arm.name) for arm in plan.arms)
    lines += [f"  {arm.name:{width}}  {_describe_arm(arm, plan)}" for arm in plan.arms]
    lines += ["", "Runs:"]
    done = _done(plan, home)
    for phase in Phase:
        each = f"about {duration(expected.seconds[phase])} each"
        lines.append(f"  {phase:8} {counts[phase]:4d}, {done.get(phase, 0)} already done, {each}")
    if changed := tuning_differences(plan):
        lines.append(f"  Runs of tune have {', '.join(changed)}.")
    left = sum((counts[p] - done.get(p, 0)) * expected.seconds[p] for p in Phase)
    lines += [
        "",
        f"Expected: {duration(left)} of one slot; divide by the runs at once ({speed_source(images_per_second)}).",
        *describe_cost(plan, expected),
    ]
    lines += ["", "Contrasts, one family, Holm on " + plan.primary + ":"]
    lines += [f"  {a} - {b}" for a, b in plan.contrasts]
    lines += ["", *(f"Warning: {warning}" for warning in warnings(plan))]
    return "\n".join(lines).rstrip()


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


def _done(plan: Plan, home: HomePaths) -> dict[Phase, int]:
    try:
        status = study_status(home, plan.study)
    except (FileNotFoundError, StudyError):
        return {}
    return {phase: status.phases[phase].get("completed", 0) for phase in Phase}
