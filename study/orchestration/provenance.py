"""Before a study goes on: what other code has made is told or refused, and the code that will make the rest is kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from study.errors import HomeError
from study.orchestration.aside import ACCEPTED, occasions, set_aside
from study.paths import HomePaths
from study.plan.identity import digest
from study.plan.spec import EvaluationRequest, RunSpec
from study.provenance.audit import CodeAudit, Wanted, describe, targets
from study.provenance.commit import commit, uncommitted
from study.provenance.identity import evaluation_code, training_code
from study.provenance.store import keep


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
    name, place = shlex.quote(study), f"--home {shlex.quote(str(home.root))}"
    raise HomeError(
        f"{message}\nOne of these helps:\n"
        f"  - make them anew: python -m study redo {name} {targets(found)} {place}\n"
        "  - keep them beside results of the present code, which the report tells: add --accept-code-change\n"
        f"  - go back to their code, which is kept: python -m study code {name} {place}"
    )


def code_for(home: HomePaths, spec: RunSpec, evaluations: Sequence[EvaluationRequest]) -> dict[str, Any]:
    """Keep the code that a run will execute; return what its job says of it.

    Keys: `commit`, with `-dirty` behind it when an executed file differs from it; `uncommitted`, those files (path →
    `changed` or `new`); `code`, the hash of what its training can execute, and of each evaluation by its key.
    """
    training = training_code(spec.training)
    judging = {request.key: evaluation_code(request.evaluation, spec.training) for request in evaluations}
    for identity in (training, *judging.values()):
        keep(home, identity)
    differing = uncommitted(sorted({path for identity in (training, *judging.values()) for path in identity.files}))
    found = commit()
    return {
        "commit": f"{found}-dirty" if found and differing else found,
        "uncommitted": differing,
        "code": {"training": training.hash, "evaluations": {key: each.hash for key, each in judging.items()}},
    }
