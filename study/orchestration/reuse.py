"""Taking over what another study of the home has trained: the same spec, made by the same code, is the same result."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from study.errors import JournalError
from study.journal.files import names_in, read_json, read_json_or_none, write_json
from study.orchestration.aside import occasions
from study.paths import HomePaths, RunPaths
from study.plan.spec import EvaluationRequest, RunSpec
from study.provenance.audit import CodeAudit
from study.provenance.identity import evaluation_code, training_code

_DRAFT = ".reuse."


class TrainedRuns:
    """The completed trainings of the other studies of a home, as they are when first asked for."""

    def __init__(self, home: HomePaths, study: str, *, has_lease: bool = True) -> None:
        """With the study's lease, remove what a kill in the middle of taking over has left; without it, only look."""
        self._home, self._study, self._audit = home, study, CodeAudit(home)
        self._redone = {run["run_id"] for aside in occasions(home.study(study)) for run in aside.runs}
        if not has_lease:
            return
        for draft in home.study(study).root.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)

    def find(self, spec: RunSpec) -> RunPaths | None:
        """An equal run of another study that can be taken over; None when there is none, or it is to be made anew."""
        if spec.run_id in self._redone:
            return None
        return next(
            filter(None, (self._usable(path, spec) for path in self._by_hash.get(spec.identity[:12], ()))), None
        )

    def take_over(self, run: RunPaths, spec: RunSpec, evaluations: Sequence[EvaluationRequest]) -> bool:
        """Make `run` from an equal one, with those of `evaluations` that it has; False when there is none.

        The run appears whole or not at all.
        """
        if run.root.exists():
            return False
        source = self.find(spec)
        if source is None:
            return False
        run.root.parent.mkdir(parents=True, exist_ok=True)
        draft = RunPaths(Path(tempfile.mkdtemp(dir=run.root.parent.parent, prefix=_DRAFT)))
        try:
            _fill(
                draft, source, spec, [request.key for request in evaluations if self._is_current(source, spec, request)]
            )
            draft.root.rename(run.root)
        except BaseException:
            shutil.rmtree(draft.root, ignore_errors=True)
            raise
        return True

    @cached_property
    def _by_hash(self) -> Mapping[str, list[RunPaths]]:
        """Hash of the training → runs that may have been trained."""
        found: dict[str, list[RunPaths]] = {}
        for runs in sorted(self._home.root.glob("*/runs")):
            if runs.parent.name != self._study:
                for name in names_in(runs):
                    found.setdefault(name[-12:], []).append(RunPaths(runs / name))
        return found

    def _usable(self, run: RunPaths, spec: RunSpec) -> RunPaths | None:
        """The run, unless another training or other code made it, or its files are damaged or gone."""
        with suppress(JournalError, FileNotFoundError, KeyError):
            trained = read_json(run.trained)
            is_same = read_json(run.spec)["identity"] == spec.identity and self._audit.is_same(
                trained["code"], training_code(spec.training)
            )
            if is_same and run.attempt(trained["attempt"]).weights.exists():
                return run
        return None

    def _is_current(self, run: RunPaths, spec: RunSpec, request: EvaluationRequest) -> bool:
        """Whether the evaluation is there, and equal code has made it."""
        record = read_json_or_none(run.evaluations / f"{request.key}.json")
        if record is None:
            return False
        code = record.get("code", read_json(run.trained)["code"])
        return self._audit.is_same(code, evaluation_code(request.evaluation, spec.training))


def _fill(draft: RunPaths, source: RunPaths, spec: RunSpec, keys: Sequence[str]) -> None:
    draft.root.chmod(0o755)
    trained = read_json(source.trained)
    attempt = source.attempt(trained["attempt"])
    copy = draft.attempt(attempt.number)
    copy.root.mkdir(parents=True)
    for file in (attempt.job, attempt.claim, attempt.events, attempt.trained, attempt.weights):
        _link(file, copy.root / file.name)
    draft.evaluations.mkdir()
    for key in keys:
        file = source.evaluations / f"{key}.json"
        content = read_json_or_none(file)
        if content is not None and content["weights_sha256"] == trained["weights_sha256"]:
            _link(file, draft.evaluations / file.name)
    _link(copy.weights, draft.weights)
    _link(copy.trained, draft.trained)
    origin = read_json_or_none(source.reused) or {"study": source.root.parent.parent.name, "run_id": source.root.name}
    write_json(draft.spec, spec.as_json())
    write_json(draft.reused, {**origin, "t": time.time()})


def _link(source: Path, target: Path) -> None:
    """Nothing that is linked is ever written again; where links are refused, copy."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
