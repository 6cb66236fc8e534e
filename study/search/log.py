"""The Optuna log of one arm: created whole, mended after a crash, refused when it belongs to another search.

One process writes the log (the lease of the study sees to that), so a lock that exists when the log is opened
was left by a killed one. Every trial is one line, written with all its parameters: a crash leaves a trial or
half a line, never half a trial. The log is a view of the trial records: move it away and it is built anew.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from study.errors import HomeError
from study.plan.space import FloatRange
from study.search.trial import SearchDefinition, Trial, TrialState

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

OPTUNA_STATES = {
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.INFEASIBLE: optuna.trial.TrialState.PRUNED,  # the sampler avoids it; FAIL would be ignored
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}

_DEFINITION = "definition"


def distributions(space: Mapping[str, FloatRange]) -> dict[str, BaseDistribution]:
    """Optuna's words for `space`, by name, so that the order of a YAML file cannot change the points."""
    return {name: FloatDistribution(r.low, r.high, log=r.log) for name, r in sorted(space.items())}


def append_trial(search: optuna.Study, definition: SearchDefinition, trial: Trial) -> None:
    """Append `trial`, whose number must be the next one, as a single line."""
    search.add_trial(
        optuna.trial.create_trial(
            state=OPTUNA_STATES[trial.state],
            params=dict(trial.params),
            distributions=distributions(definition.space),
            value=trial.objective,
        )
    )


def rebuild(log: Path, definition: SearchDefinition, records: Sequence[Trial] = ()) -> None:
    """Create the log anew, with the trials of `records`; it appears under its name only once it is complete.

    Raises:
        HomeError: the log exists already, or the record of a trial is missing among them.
    """
    if log.exists():
        raise HomeError(f"{log} exists already; move it away before it is built from the trial records")
    ordered = sorted(records, key=lambda trial: trial.number)
    missing = sorted(set(range(len(ordered))) - {trial.number for trial in ordered})
    if missing:
        raise HomeError(f"{log} cannot be built: the record of trial {missing[0]} of arm {definition.arm!r} is missing")
    log.parent.mkdir(parents=True, exist_ok=True)
    draft = log.with_name(f"{log.name}.new")
    draft.unlink(missing_ok=True)
    search = optuna.create_study(storage=_storage(draft), study_name=_name(definition), direction="maximize")
    search.set_user_attr(_DEFINITION, definition.as_json())
    for trial in ordered:
        append_trial(search, definition, trial)
    draft.replace(log)


def open_log(log: Path, definition: SearchDefinition) -> optuna.Study:
    """Open an existing log.

    Raises:
        HomeError: the log is damaged beyond its last line, or belongs to another search.
    """
    mend_tail(log)
    try:
        search = optuna.load_study(storage=_storage(log), study_name=_name(definition))
        stored = search.user_attrs[_DEFINITION]
    except OSError:
        raise
    except Exception as error:  # whatever Optuna's replay stumbles over
        raise HomeError(
            f"{log} is damaged or is not the search of arm {definition.arm!r} of study {definition.study!r}"
            f" ({type(error).__name__}: {error}).\nMove it away and start the study again: it is built anew"
            f" from the trial records in {log.with_suffix('')}"
        ) from error
    changes = "".join(f"  {line}\n" for line in _changes(stored, definition.as_json()))
    if changes:
        raise HomeError(
            f"{log} holds another search than the plan asks for:\n{changes}"
            "Trials of two searches must not be mixed. Restore the old sweep file, rename the study, or"
            f" move {log} and {log.with_suffix('')} away to search again"
        )
    return search


def mend_tail(log: Path) -> None:
    """Cut half a line that a killed writer left, keeping a copy in `*.torn`."""
    with log.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
    data = log.read_bytes()
    log.with_name(f"{log.name}.torn").write_bytes(data)
    os.truncate(log, data.rfind(b"\n") + 1)


def _storage(log: Path) -> JournalStorage:
    for leftover in log.parent.glob(f"{log.name}.lock*"):
        leftover.unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(log), lock_obj=JournalFileOpenLock(str(log))))


def _name(definition: SearchDefinition) -> str:
    return f"{definition.study}/{definition.arm}"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        name = f"{path}{key}"
        if path == "" and isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changes(before, after, f"{name} ")
        else:
            yield f"{name}: was {json.dumps(before)}, is now {json.dumps(after)}"
