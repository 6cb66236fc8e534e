"""What values of a site file mean together."""

from __future__ import annotations

from study.errors import Problem
from study.plan.site_model import Mode, Slurm
from study.plan.yaml_out import typed


def check_together(slurm: Slurm, num_processes: int, problems: list[Problem]) -> None:
    """Add what no single value shows; silent where one of the values is wrong by itself.

    Args:
        slurm: what the file says, as far as it is right.
        num_processes: processes of one run.
        problems: those of single values; gets the others.
    """
    _check_times_and_runs(slurm, problems)
    _check_gpu_types(slurm, problems)
    _check_nodes(slurm, num_processes, problems)


def _check_times_and_runs(slurm: Slurm, problems: list[Problem]) -> None:
    wrong = {problem.path.rpartition(".")[2] for problem in problems}
    place, shortest = min(slurm.requests.items(), key=lambda request: request[1].time_min)
    most = shortest.time_min * 60 / 2
    if slurm.warning_s >= most and not wrong & {"warning_s", "time_min"}:
        limit = f"half of the time limit ({_at(place, 'time_min')}: {typed(shortest.time_min)}, so {typed(most)} s)"
        problems.append(Problem("warning_s", f"must be below {limit}, but got {typed(slurm.warning_s)}"))
    place, smallest = min(slurm.requests.items(), key=lambda request: request[1].cpus)
    if slurm.mode is Mode.JOBS and slurm.runs_per_job > 1 and "mode" not in wrong:
        message = "in mode 'jobs' every run is a job of its own; write `mode: workers`, or leave it out"
        problems.append(Problem("runs_per_job", message))
    elif slurm.runs_per_job > smallest.cpus and not wrong & {"runs_per_job", "cpus"}:
        cores = (
            f"{slurm.runs_per_job} runs side by side need as many cores, but {_at(place, 'cpus')} is {smallest.cpus}"
        )
        problems.append(Problem("runs_per_job", f"{cores}; write `cpus: {slurm.runs_per_job}` or more"))


def _check_gpu_types(slurm: Slurm, problems: list[Problem]) -> None:
    """A type is nothing without a number; a phase may give the number to the type of the top level."""
    wrong = {problem.path.rpartition(".")[2] for problem in problems}
    if "gpus" in wrong:
        return
    for place, resources in slurm.requests.items():
        kind, is_inherited = resources.gpu_type, place and resources.gpu_type == slurm.resources.gpu_type
        uses = slurm.requests.values() if not place else [resources]
        if kind and not is_inherited and not any(use.gpus for use in uses):
            message = f"{kind!r} says which GPUs, but not how many; write `gpus: 1`"
            problems.append(Problem(_at(place, "gpu_type"), message))


def _check_nodes(slurm: Slurm, num_processes: int, problems: list[Problem]) -> None:
    """The processes of a run are spread evenly, and several machines are taken for one run alone."""
    wrong = {problem.path.rpartition(".")[2] for problem in problems}
    if wrong & {"nodes", "mode", "processes_per_run"}:
        return
    for place, resources in slurm.requests.items():
        if resources.nodes > 1 and slurm.mode is not Mode.JOBS:
            message = f"{resources.nodes} machines for one run need a job of their own; write `mode: jobs`"
            problems.append(Problem(_at(place, "nodes"), message))
        elif num_processes % resources.nodes:
            processes = f"{num_processes} process{'es' if num_processes > 1 else ''} per run"
            each = f"{processes} cannot be spread evenly over {resources.nodes} machines"
            most = resources.nodes * max(1, resources.gpus)
            problems.append(Problem(_at(place, "nodes"), f"{each}; write e.g. `processes_per_run: {most}`"))


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
