"""Every file name of a home, a study, a run and an attempt, so that no other module spells one.

::

    <home>/mlflow.db  mlartifacts/  data/  identity.json  published.json
    <home>/bases/<hash>/                 a base pre-training; laid out like a run
    <home>/<study>/plan.yaml plan.json command.json lease stop finished.json published.json identity.json
    <home>/<study>/search/<arm>.log      Optuna journal of one arm
    <home>/<study>/search/<arm>/0003.json    one trial: its parameters, runs, outcome
    <home>/<study>/runs/<run_id>/spec.json stop trained.json weights.safetensors published.json summary
    <home>/<study>/runs/<run_id>/attempts/002/  job.json claim events.jsonl heartbeat checkpoint.pt trained.json …
    <home>/<study>/runs/<run_id>/evaluations/<name>-<split>-<hash>.json
    <home>/<study>/workers/w0001/        a worker allocation, see `WorkerPaths`
    <home>/<study>/workers/pool-<hash>/  the line of orders that alike workers take from, see `PoolPaths`
    <home>/<study>/code/<hash>/          what jobs import
    <home>/<study>/report/               tables and figures
    <home>/<study>/frames/               runs.parquet and more, for colleagues who have the tracker alone
    <home>/<study>/aside/0001.json 0001/ what was moved aside, to be made anew
    <home>/code/<hash12>.json files/     which files a hash of code means, and their text
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from study.paths.runs import AttemptPaths, RunPaths
from study.paths.studies import HomePaths, StudyPaths
from study.paths.workers import PoolPaths, WorkerPaths

__all__ = [
    "RESERVED_NAMES",
    "AttemptPaths",
    "HomePaths",
    "PoolPaths",
    "RunPaths",
    "StudyPaths",
    "WorkerPaths",
    "from_user",
]

RESERVED_NAMES = {  # names that no study may have, in whatever case, and what they are
    **dict.fromkeys(("bases", "checkpoints", "code", "data", "mlartifacts"), "a folder of the study home itself"),
    "default": "MLflow's own experiment, whose artifacts lie outside of the study home",
}


def from_user(text: str) -> Path:
    """A path as a user gives it; `~` is expanded where no shell has done so, as in `--home=~/studies`."""
    with suppress(RuntimeError):  # `~nobody`
        return Path(text).expanduser()
    return Path(text)
