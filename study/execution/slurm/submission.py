"""Handing jobs to SLURM through submitit."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths
from submitit.helpers import clean_env

from study.errors import StudyError
from study.execution.slurm.directives import directives
from study.journal.files import named
from study.journal.trouble import OF_A_DISK
from study.plan.site import Resources, Slurm
from study.worker.allocation import execute, serve

_KEPT = "SLURM_CONF"  # says which cluster is meant; `clean_env` would hide it with what a surrounding job has set


class SubmissionError(StudyError):
    """SLURM refused a job; the message is its own."""


def submit_worker(
    folder: Path, worker_dir: Path, name: str, resources: Resources, slurm: Slurm, code: Path, exclude: Sequence[str]
) -> str:
    """Submit one worker.

    Args:
        folder: for submission file, pickle and logs.
        worker_dir: folder of its files.
        name: of the job; by it a lost acknowledgement is found again.
        resources: what it asks for.
        slurm: the site.
        code: folder that the job imports the framework from.
        exclude: nodes to avoid beyond those of the site.

    Returns:
        The job's id.

    Raises:
        SubmissionError: `sbatch` refused.
    """
    with _submitting(folder):
        executor = _executor(folder, name, resources, slurm, code, exclude)
        return str(executor.submit(serve, str(worker_dir)).job_id)


def complete_submission(folder: Path, job_id: str) -> None:
    """Do what submitit does after `sbatch` has answered, for a job whose orchestrator did not live to do it.

    The job waits for a minute for this file.
    """
    for pickle in folder.glob("*.pkl"):
        if not pickle.stem.endswith(("_submitted", "_result")):
            pickle.rename(JobPaths(folder, job_id=job_id).submitted_pickle)


def submit_attempts(
    folder: Path, attempts: Sequence[Path], name: str, resources: Resources, slurm: Slurm, code: Path,
    exclude: Sequence[str],
) -> list[str]:  # fmt: skip
    """Submit one job per attempt, as an array when there are several; arguments as for `submit_worker`.

    Returns:
        One id per attempt, `123` or `123_4`.

    Raises:
        SubmissionError: `sbatch` refused.
    """
    with _submitting(folder):
        executor = _executor(folder, name, resources, slurm, code, exclude, len(attempts))
        if len(attempts) == 1:
            return [str(executor.submit(execute, str(attempts[0])).job_id)]
        return [str(job.job_id) for job in executor.map_array(execute, [str(attempt) for attempt in attempts])]


def _executor(
    folder: Path, name: str, resources: Resources, slurm: Slurm, code: Path, exclude: Sequence[str], size: int = 1
) -> submitit.SlurmExecutor:
    parameters: dict[str, Any] = {
        **{name.replace("-", "_"): value for name, value in directives(resources, exclude).items()},
        "job_name": name,
        "ntasks_per_node": 1,
        "signal_delay_s": int(slurm.warning_s),
        "setup": [*slurm.setup, *_exports({"PYTHONPATH": str(code), **slurm.environment})],
        # A requeued job would wait for minutes and then find its attempts given to others.
        "additional_parameters": {"no-requeue": True},
        "srun_args": [f"--cpus-per-task={resources.cpus}"],  # since 22.05 a step does not inherit it
        "wckey": None,  # submitit's own would be refused where only known ones are taken
        "array_parallelism": size,  # submitit's 256 would be a limit that nobody asked for
    }
    if resources.nodes > 1:
        # When the first machine of a run is done, or one fails, the others are given a minute to leave by themselves.
        parameters["srun_args"] += ["--kill-on-bad-exit=1", "--wait=60"]
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0, python=slurm.python)
    executor.update_parameters(**parameters)
    return executor


def _exports(variables: Mapping[str, str]) -> list[str]:
    path = variables["PYTHONPATH"]
    others = [f"export {key}={shlex.quote(value)}" for key, value in variables.items() if key != "PYTHONPATH"]
    return [*others, f"export PYTHONPATH={shlex.quote(path)}${{PYTHONPATH:+:$PYTHONPATH}}"]


@contextmanager
def _submitting(folder: Path) -> Iterator[None]:
    """No trace of a job that the orchestrator itself may run in; SLURM's refusals as errors of ours.

    Raises:
        SubmissionError: SLURM refused, or its commands have gone.
        OSError: the file system of `folder` refused.
    """
    cluster = os.environ.get(_KEPT)
    try:
        with named(folder), clean_env():
            if cluster is not None:
                os.environ[_KEPT] = cluster
            with redirect_stderr(io.StringIO()):  # submitit prints what the exception holds
                yield
    except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in OF_A_DISK:
            raise
        raise SubmissionError(str(error).strip()) from error
