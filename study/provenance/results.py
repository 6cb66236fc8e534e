"""The code of all results of a study: which versions there are, and which results each has made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from study.errors import UserError
from study.journal.files import read_json
from study.journal.replay import RunState
from study.journal.side_by_side import side_by_side
from study.journal.summary import final_state
from study.paths import HomePaths
from study.plan.identity import arm_of
from study.plan.model import Plan
from study.provenance.identity import CodeIdentity
from study.provenance.store import kept

DIGITS = 12


@dataclass(frozen=True)
class ResultCode:
    """What one result was made by.

    Attributes:
        run_id: the run, or the base.
        evaluation: name of the evaluation; None: the training.
        code: hash.
    """

    run_id: str
    evaluation: str | None
    code: str


@dataclass(frozen=True)
class CodeOfStudy:
    """The code of a study's results.

    Attributes:
        study: its name.
        results: every training and evaluation that there is.
        versions: hash → what is kept under it; None: nothing.
        commits: run id → commit, with `-dirty` behind it where executed files differed from it, and those files.
    """

    study: str
    results: tuple[ResultCode, ...]
    versions: Mapping[str, CodeIdentity | None]
    commits: Mapping[str, tuple[str, Mapping[str, str]]]

    @cached_property
    def runs(self) -> list[str]:
        """Ids of runs and bases with results."""
        return list(dict.fromkeys(result.run_id for result in self.results))

    def commit(self, run_id: str | None = None) -> str:
        """The commit of a run, or of the first run that names one; "" when none does."""
        found = [self.commits[run] for run in self.runs if run_id in (None, run) and run in self.commits]
        return found[0][0].removesuffix("-dirty") if found else ""

    def sets(self, run_id: str | None = None) -> list[CodeIdentity]:
        """The code of the results of a run, or of all: one set of files, or one per version where they contradict.

        Raises:
            UserError: a version is not kept; names it, and what it made.
        """
        codes = dict.fromkeys(r.code for r in self.results if run_id in (None, r.run_id))
        found = {code: identity for code in codes if (identity := self.versions[code]) is not None}
        if missing := [code for code in codes if code not in found]:
            made = "; ".join(f"{code[:DIGITS]} ({self._made_by(code, run_id)})" for code in missing)
            raise UserError(f"the home keeps no text of code {made}; choose another result with --run RUN")
        files: dict[str, str] = {}
        libraries: dict[str, str] = {}
        for identity in found.values():
            if any(files.get(path, sha256) != sha256 for path, sha256 in identity.files.items()):
                return list(found.values())
            files |= identity.files
            libraries |= identity.libraries
        return [CodeIdentity(files, libraries, "")]

    def as_text(self, run_id: str | None = None) -> str:
        """Say for a terminal which versions there are, what they made, and which files differ from the commit."""
        lines = [f"{self.study}: code of its results"]
        for code in dict.fromkeys(r.code for r in self.results if run_id in (None, r.run_id)):
            identity = self.versions[code]
            size = "not kept" if identity is None else f"{len(identity.files)} files"
            lines.append(f"  {code[:DIGITS]}  {size:>9}  {self._made_by(code, run_id)}")
        for commit, files in dict.fromkeys(
            (commit, tuple(sorted(files.items())))
            for run, (commit, files) in self.commits.items()
            if run_id in (None, run)
        ):
            differing = ", ".join(f"{path} ({state})" for path, state in files)
            lines.append(f"Commit {commit.removesuffix('-dirty')}" + (f", but for {differing}" if differing else ""))
        lines.append("Compare with a commit: --diff [COMMIT]. Write the files: --restore FOLDER. Of one run: --run RUN")
        return "\n".join(lines)

    def _made_by(self, code: str, run_id: str | None) -> str:
        own = [r for r in self.results if r.code == code and run_id in (None, r.run_id)]
        parts = []
        for evaluation in dict.fromkeys(r.evaluation for r in own):
            runs = [r.run_id for r in own if r.evaluation == evaluation]
            arms = list(dict.fromkeys(arm_of(run) or "bases" for run in runs))
            what = "trained" if evaluation is None else evaluation
            parts.append(f"{what}: {', '.join(arms)} ({len(runs)})")
        return "; ".join(parts)


def code_of_study(home: HomePaths, name: str) -> CodeOfStudy:
    """Read the code of all results of a study whose plan is stored."""
    from study.plan.expand import base_spec

    study = home.study(name)
    plan = Plan.from_json(read_json(study.plan))
    bases = [home.base(base_spec(plan, seed).run_id) for seed in plan.base_seeds]
    results: list[ResultCode] = []
    commits: dict[str, tuple[str, Mapping[str, str]]] = {}
    runs = [*(run for run in bases if run.spec.exists()), *study.existing_runs()]
    for run, (_, state) in zip(runs, side_by_side(final_state, runs), strict=True):
        found = list(_results(run.root.name, state))
        results += found
        if found and (commit := _commit(state)) is not None:
            commits[run.root.name] = commit
    versions = {code: kept(home, code) for code in dict.fromkeys(result.code for result in results)}
    return CodeOfStudy(name, tuple(results), versions, commits)


def _results(run_id: str, state: RunState) -> Iterator[ResultCode]:
    if state.trained is None:
        return
    trained = str(state.trained["code"])
    yield ResultCode(run_id, None, trained)
    for _, record in sorted(state.evaluations.items()):
        yield ResultCode(run_id, str(record["evaluation"]["name"]), str(record.get("code", trained)))


def _commit(state: RunState) -> tuple[str, Mapping[str, str]] | None:
    """The commit that the attempt which trained was started from."""
    number = None if state.trained is None else int(state.trained["attempt"])
    started = next((attempt.started for attempt in state.attempts if attempt.number == number), None)
    if started is None or not started.get("commit"):
        return None
    return str(started["commit"]), started.get("uncommitted", {})
