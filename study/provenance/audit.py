"""Which results of a study were made by other code than there is now, and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from study.journal.summary import brief_states
from study.paths import HomePaths, RunPaths
from study.plan.identity import arm_of
from study.plan.spec import EvaluationRequest, RunSpec
from study.provenance.identity import CodeIdentity, evaluation_code, training_code
from study.provenance.store import changes, kept

_MOST_NAMED = 3


@dataclass(frozen=True)
class Wanted:
    """A run as a plan needs it: where it lies, what it trains, what it is evaluated on."""

    paths: RunPaths
    spec: RunSpec
    evaluations: Sequence[EvaluationRequest] = ()


@dataclass(frozen=True)
class OtherCode:
    """One result that other code made.

    Attributes:
        run_id: the run, or the base.
        evaluation: name of the evaluation; None: the training.
        changes: files and libraries that differ from what there is now.
        code: hash of the code that made it.
        now: hash of the code that would make it now.
    """

    run_id: str
    evaluation: str | None
    changes: tuple[str, ...]
    code: str
    now: str


class CodeAudit:
    """Compares recorded hashes of code with the code of this process; every pair of hashes once."""

    def __init__(self, home: HomePaths) -> None:
        self._home = home
        self._found: dict[tuple[str, str], tuple[str, ...]] = {}

    def is_same(self, code: str, now: CodeIdentity) -> bool:
        """Whether what has a recorded hash would be made by equal code today."""
        return not self._changes(code, now)

    def other_code(self, runs: Iterable[Wanted]) -> list[OtherCode]:
        """Name every training and evaluation among `runs` that exists and that other code made."""
        found, wanted = [], list(runs)
        for run, state in zip(wanted, brief_states([run.paths for run in wanted]), strict=True):
            if state.trained is None:
                continue
            code = str(state.trained["code"])
            pairs: list[tuple[str | None, str, CodeIdentity]] = [(None, code, training_code(run.spec.training))]
            for request in run.evaluations:
                record = state.evaluations.get(request.key)
                if record is not None:  # earlier code had one hash for both
                    now = evaluation_code(request.evaluation, run.spec.training)
                    pairs.append((request.evaluation.name, str(record.get("code", code)), now))
            for evaluation, code, now in pairs:
                if changed := self._changes(code, now):
                    found.append(OtherCode(run.spec.run_id, evaluation, changed, code, now.hash))
        return found

    def _changes(self, code: str, now: CodeIdentity) -> tuple[str, ...]:
        if (key := (code, now.hash)) not in self._found:
            before = kept(self._home, code) if code != now.hash else now
            self._found[key] = (f"unknown code {code[:12]}",) if before is None else tuple(changes(before, now))
        return self._found[key]


def describe(found: Sequence[OtherCode]) -> str:
    """Say of changed files and libraries which bases, arms and evaluations they concern; one line for equal ones."""
    concerned: dict[str, list[OtherCode]] = {}
    for result in found:
        for change in result.changes:
            concerned.setdefault(change, []).append(result)
    alike: dict[str, list[str]] = {}
    for change, results in concerned.items():
        alike.setdefault(_who(results), []).append(change)
    return "\n".join(f"  - {', '.join(names)}: {who}" for who, names in alike.items())


def targets(found: Sequence[OtherCode]) -> str:
    """What `python -m study redo` would have to be given."""
    trained = [result for result in found if result.evaluation is None]
    arms = list(dict.fromkeys(arm for result in trained if (arm := arm_of(result.run_id)) is not None))
    words = (["bases"] if any(arm_of(result.run_id) is None for result in trained) else []) + arms
    again = {result.run_id for result in trained}
    evaluations = dict.fromkeys(str(r.evaluation) for r in found if r.evaluation is not None and r.run_id not in again)
    return " ".join([*words, *(f"--evaluation {name}" for name in evaluations)])


def _who(results: Sequence[OtherCode]) -> str:
    trained = [result.run_id for result in results if result.evaluation is None]
    bases = [run_id for run_id in trained if arm_of(run_id) is None]
    parts = [f"{_count(len(bases), 'base')} ({_few(bases)})"] if bases else []
    if runs := [run_id for run_id in trained if arm_of(run_id) is not None]:
        parts.append(f"{_count(len(runs), 'run')} of {_arms(runs)}")
    again = set(trained)
    for name in dict.fromkeys(r.evaluation for r in results if r.evaluation is not None):
        evaluated = [r.run_id for r in results if r.evaluation == name and r.run_id not in again]
        if evaluated:
            parts.append(f"{name} of {_count(len(evaluated), 'run')} of {_arms(evaluated)}")
    return ", ".join(parts)


def _arms(run_ids: Sequence[str]) -> str:
    arms = list(dict.fromkeys(str(arm_of(run_id)) for run_id in run_ids))
    return f"arm{'s' if len(arms) > 1 else ''} {', '.join(arms)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *(["…"] if len(names) > _MOST_NAMED else [])])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
