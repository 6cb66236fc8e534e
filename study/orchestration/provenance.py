"""Before a study goes on: what other code has made is told or refused."""

from __future__ import annotations

from collections.abc import Sequence

from study.errors import HomeError
from study.orchestration.actions import read_trials
from study.orchestration.aside import ACCEPTED, occasions, set_aside
from study.orchestration.decide import evaluations_for, known_specs
from study.orchestration.typed import manage
from study.paths import HomePaths
from study.plan.identity import digest
from study.plan.model import Plan
from study.provenance.audit import CodeAudit, Wanted, describe, targets


def check_code(home: HomePaths, study: str, runs: Sequence[Wanted], *, accept_change: bool) -> str | None:
    """Refuse to mix results of different code, unless just that has been accepted before.

    Args:
        home: keeps what each hash of code means.
        study: its name, for what to type.
        runs: the study's runs and bases.
        accept_change: go on in spite of a difference.

    Returns:
        A warning when a difference is accepted.

    Raises:
        HomeError: other code made some result; names the files and libraries that changed, the bases, arms and
            evaluations that this concerns, and what to type.
    """
    found = CodeAudit(home).other_code(runs)
    if not found:
        return None
    what = describe(found)
    message = f"Results of {study} were made by other code than there is now. Changed since:\n{what}"
    key = digest({"found": sorted(f"{result.code} {result.now}" for result in found)})
    was_accepted = any(past.kind == ACCEPTED and past.why == key for past in occasions(home.study(study)))
    if accept_change and not was_accepted:
        set_aside(home.study(study), (), kind=ACCEPTED, what=what, why=key)
    if accept_change or was_accepted:
        return f"{message}\nThey are kept, and the report says so."
    raise HomeError(
        f"{message}\nOne of these helps:\n"
        f"  - make them anew: {manage('redo', study, home.root, *targets(found).split())}\n"
        "  - keep them beside results of the present code, which the report tells: add --accept-code-change\n"
        f"  - go back to their code, which is kept: {manage('code', study, home.root)}"
    )


def wanted(home: HomePaths, plan: Plan) -> list[Wanted]:
    """Every run and base that a plan needs as far as it is known yet, with what it is evaluated on."""
    study = home.study(plan.study)
    trials = {arm.name: read_trials(study, arm.name) for arm in plan.arms if arm.is_tuned}
    return [
        Wanted(home.run_of(plan.study, spec.run_id, phase), spec, evaluations_for(plan, phase))
        for spec, phase in known_specs(plan, trials)
    ]
