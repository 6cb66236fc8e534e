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
from study.paths import HomePaths, RunPaths
from study.plan.identity import code_identity
from study.plan.spec import EvaluationRequest, RunSpec

_DRAFT = ".reuse."


class TrainedRuns:
    """The completed trainings of the other studies of a home, as they are when first asked for."""

    def __init__(self, home: HomePaths, study: str) -> None:
        """Remove what a kill in the middle of taking over has left; whoever asks holds the study's lease."""
        self._home, self._study = home, study
        for draft in home.study(study).root.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)

    def take_over(self, run: RunPaths, spec: RunSpec, evaluations: Sequence[EvaluationRequest]) -> bool:
        """Make `run` from an equal one, with those of `evaluations` that it has; False when there is none.

        The run appears whole or not at all.
        """
        if run.root.exists():
            return False
        source = next(
            filter(None, (self._usable(path, spec) for path in self._by_hash.get(spec.identity[:12], ()))), None
        )
        if source is None:
            return False
        run.root.parent.mkdir(parents=True, exist_ok=True)
        draft = RunPaths(Path(tempfile.mkdtemp(dir=run.root.parent.parent, prefix=_DRAFT)))
        try:
            _fill(draft, source, spec, [request.key for request in evaluations])
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

    @staticmethod
    def _usable(run: RunPaths, spec: RunSpec) -> RunPaths | None:
        """The run, unless another training or other code made it, or its files are damaged or gone."""
        with suppress(JournalError, FileNotFoundError, KeyError):
            trained = read_json(run.trained)
            is_same = read_json(run.spec)["identity"] == spec.identity and trained["code"] == code_identity()["hash"]
            if is_same and run.attempt(trained["attempt"]).weights.exists():
                return run
        return None


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
