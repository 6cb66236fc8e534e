"""The code that jobs execute: its text is kept, and a job that starts tomorrow runs the copy that was submitted."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.paths import HomePaths, StudyPaths
from study.plan.spec import EvaluationRequest, RunSpec
from study.provenance.commit import commit, uncommitted
from study.provenance.identity import evaluation_code, files_of_all_runs, training_code
from study.provenance.imports import ROOT, file_of
from study.provenance.store import keep

_PACKAGE = Path(__file__).parents[1]


def snapshot_code(study: StudyPaths) -> Path:
    """Copy the package, and what components import beside it, unless this state of the files has been copied before.

    Returns:
        The folder that holds the package, to be put on a job's PYTHONPATH.
    """
    files = sorted(path for path in _PACKAGE.rglob("*.py"))
    files += [file_of(path) for path in sorted(files_of_all_runs()) if path.startswith("../")]
    content = hashlib.sha256()
    for file in files:
        content.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    target = study.code / content.hexdigest()[:12]
    if target.exists():
        return target
    study.code.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=study.code, prefix=".draft."))
    draft.chmod(0o755)  # mkdtemp's 0700 would hide it from jobs of other users
    for file in files:
        copy = draft / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    try:
        draft.rename(target)
    except OSError:  # another orchestrator of the home was first
        shutil.rmtree(draft)
    return target


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
