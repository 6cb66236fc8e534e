"""Where runs execute: a site file says it, or this machine is used. No part of a site belongs to any identity.

A site file is flat: the keys of `Site`, `Slurm` and `Resources` stand side by side; `phases` holds more `Resources`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from study.errors import PlanError, Problem, UserError, did_you_mean, shown
from study.plan import site_values as values
from study.plan import yaml_text
from study.plan.model import Phase
from study.plan.yaml_out import typed

SLURM_SLOTS = 8  # runs at once where nobody says how many


class Mode(StrEnum):
    """How runs become jobs."""

    WORKERS = "workers"
    JOBS = "jobs"


@dataclass(frozen=True)
class Resources:
    """What one job asks for; None leaves it to the cluster's default.

    Attributes:
        partition: or several, with commas between.
        account: that is charged.
        qos: quality of service.
        nodes: machines of one job, over which the processes of a run are spread; what follows is wanted of each.
        gpus: GPUs per job.
        gpu_type: as the cluster calls it, e.g. `a100`.
        cpus: cores per job.
        memory_gb: memory per job, in units of 1024 MB.
        time_min: time limit of a job.
        constraint: features that a node must have.
        exclude: nodes to avoid.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int = 1
    gpus: int = 0
    gpu_type: str | None = None
    cpus: int = 1
    memory_gb: float | None = None
    time_min: float = 60
    constraint: str | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slurm:
    """How SLURM is used.

    Attributes:
        resources: of a job.
        phases: of jobs of a phase that asks for others: the default with what the phase overrides.
        setup: shell lines before Python starts.
        python: command that starts Python, perhaps in a container; None: the orchestrator's.
        environment: variables that jobs get.
        mode: allocations that execute one run after another, or one job per run.
        runs_per_job: runs side by side in one allocation.
        idle_s: a worker leaves after so long without work.
        poll_s: between two questions to the scheduler.
        warning_s: how long before its time limit a job is told to save.
        max_jobs: jobs at once; None: what `slots` need.
    """

    resources: Resources = Resources()
    phases: Mapping[str, Resources] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.WORKERS
    runs_per_job: int = 1
    idle_s: float = 60
    poll_s: float = 30
    warning_s: float = 120
    max_jobs: int | None = None

    @property
    def requests(self) -> Mapping[str, Resources]:
        """Every kind of job, by the place in the file that it comes from: `` (the top level) or `phases.tune`."""
        return {"": self.resources, **{f"phases.{phase}": resources for phase, resources in self.phases.items()}}


@dataclass(frozen=True)
class Site:
    """One place to run.

    Attributes:
        executor: `local` (processes on this machine), `inline` (inside the orchestrator, one run at a time) or `slurm`.
        slots: runs at once; default: one per GPU, else one per core; with SLURM, `SLURM_SLOTS`.
        checkpoint_every_s: seconds between two checkpoints of a run.
        home: folder where studies live, unless the command or $STUDY_HOME names another.
        slurm: how SLURM is used; None with other executors.
        processes_per_run: processes that train a run together, with a GPU each where there are any.
        log_every: steps from one that a journal keeps to the next; None: see `study.journal.thinning`.
    """

    executor: str = "local"
    slots: int | None = None
    checkpoint_every_s: float = 30.0
    home: str | None = None
    slurm: Slurm | None = None
    processes_per_run: int = 1
    log_every: int | None = None


_SITE: Mapping[str, values.Check] = {
    "executor": values.choice(("local", "inline", "slurm"), "executor"),
    "slots": values.whole_number(1),
    "checkpoint_every_s": values.amount("seconds"),
    "log_every": values.whole_number(1),
    "processes_per_run": values.whole_number(1),
    "home": values.line,
}
_RESOURCES: Mapping[str, values.Check] = {
    "partition": values.word,
    "account": values.word,
    "qos": values.word,
    "nodes": values.whole_number(1),
    "gpus": values.whole_number(0),
    "gpu_type": values.word,
    "cpus": values.whole_number(1),
    "memory_gb": values.amount("gigabytes"),
    "time_min": values.amount("minutes"),
    "constraint": values.word,
    "exclude": values.list_of(values.word, "[node1, node2]"),
}
_SLURM: Mapping[str, values.Check] = {
    "setup": values.list_of(values.line, "['module load cuda']"),
    "python": values.line,
    "environment": values.variables,
    "mode": values.choice([mode.value for mode in Mode], "mode"),
    "runs_per_job": values.whole_number(1),
    "idle_s": values.amount("seconds"),
    "poll_s": values.amount("seconds"),
    "warning_s": values.amount("seconds"),
    "max_jobs": values.whole_number(1),
}
_MAY_BE_EMPTY = {f.name for kind in (Site, Slurm, Resources) for f in fields(kind) if f.default is None}


def load_site(path: Path | None, chosen_by: str = "--site") -> Site:
    """Read a site file; without one, this machine.

    Args:
        path: the file, or None.
        chosen_by: who named the file; for messages.

    Raises:
        UserError: the file cannot be read.
        PlanError: its contents are wrong; all problems at once.
    """
    if path is None:
        return Site()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 text ({error})"
        advice = "slurm/README.md shows what it holds; without one, runs go to this machine"
        raise UserError(f"cannot read the site file {path} that {chosen_by} names: {reason}; {advice}") from None
    problems: list[Problem] = []
    raw = yaml_text.parse(text, str(path), problems, example="slurm/README.md")
    keys, phases = list(raw), raw.pop("phases", None)
    executor = raw.get("executor", Site.executor)
    known = (*_SITE, *_RESOURCES, *_SLURM, "phases") if executor == "slurm" else tuple(_SITE)
    given = _read(raw, {**_SITE, **_RESOURCES, **_SLURM}, known, problems)
    site = Site(**{key: value for key, value in given.items() if key in _SITE})
    if executor == "slurm":
        slurm = _slurm(given, phases, problems)
        _check_together(slurm, problems)
        _check_nodes(slurm, site.processes_per_run, problems)
        site = replace(site, slots=site.slots or SLURM_SLOTS, slurm=slurm)
    elif executor in ("local", "inline"):
        advice = (
            f"only SLURM's jobs have it, and the executor is {executor!r}; write `executor: slurm`, or leave it out"
        )
        problems += [Problem(key, advice) for key in keys if key in (*_RESOURCES, *_SLURM, "phases")]
    if problems:
        raise PlanError(str(path), problems)
    return site


def _read(
    raw: Mapping[Any, Any], checks: Mapping[str, values.Check], known: Collection[str], problems: list[Problem],
    prefix: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The values that are right, as the dataclasses hold them."""
    given: dict[str, Any] = {}
    for key, value in raw.items():
        check = checks.get(key)
        if check is None:
            hint = f"unknown key {shown(key)}.{did_you_mean(key, known)}"
            if prefix and (key in _SITE or key in _SLURM):
                hint = "holds for all phases; write it at the top level"
            problems.append(Problem(f"{prefix}{key}", hint))
        elif value is None and key in _MAY_BE_EMPTY:
            given[key] = None
        elif wrong := check(value):
            problems.append(Problem(f"{prefix}{key}", wrong))
        else:
            given[key] = tuple(value) if isinstance(value, list) else value
    return given


def _slurm(given: Mapping[str, Any], phases: Any, problems: list[Problem]) -> Slurm:
    resources = Resources(**{key: value for key, value in given.items() if key in _RESOURCES})
    rest = {key: value for key, value in given.items() if key in _SLURM}
    if "mode" in rest:
        rest["mode"] = Mode(rest["mode"])
    if "environment" in rest:
        rest["environment"] = {name: str(content) for name, content in rest["environment"].items()}
    return Slurm(resources=resources, phases=_phases(phases, resources, problems), **rest)


def _phases(raw: Any, default: Resources, problems: list[Problem]) -> dict[str, Resources]:
    """The default with what each phase overrides."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        wrong = f"must be a mapping such as {{prepare: {{time_min: 600}}}}, but got {shown(raw)}"
        problems.append(Problem("phases", wrong))
        return {}
    known = [phase.value for phase in Phase]
    resolved = {}
    for name, overrides in raw.items():
        if name not in known:
            problems.append(Problem(f"phases.{name}", f"no phase {shown(name)}.{did_you_mean(name, known)}"))
        elif not isinstance(overrides, dict):
            wrong = f"must be a mapping such as {{time_min: 600}}, but got {shown(overrides)}"
            problems.append(Problem(f"phases.{name}", wrong))
        else:
            resolved[name] = replace(default, **_read(overrides, _RESOURCES, _RESOURCES, problems, f"phases.{name}."))
    return resolved


def _check_together(slurm: Slurm, problems: list[Problem]) -> None:
    """What no single value shows; silent where one of the values is wrong by itself."""
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
    has_gpus = any(resources.gpus for resources in slurm.requests.values())
    if slurm.resources.gpu_type and not has_gpus and "gpus" not in wrong:
        message = f"{slurm.resources.gpu_type!r} says which GPUs, but not how many; write `gpus: 1`"
        problems.append(Problem("gpu_type", message))


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
