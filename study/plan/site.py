"""Where runs execute: a site file says it, or this machine is used. No part of a site belongs to any identity.

A site file is flat: the keys of `Site`, `Slurm` and `Resources` stand side by side; `phases` holds more `Resources`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from study.errors import PlanError, Problem, UserError, did_you_mean, shown
from study.plan import site_values as values
from study.plan import yaml_text
from study.plan.model import Phase
from study.plan.site_checks import check_together
from study.plan.site_model import SLURM_SLOTS, Mode, Resources, Site, Slurm

__all__ = ["SLURM_SLOTS", "Mode", "Resources", "Site", "Slurm", "load_site"]

_SITE: Mapping[str, values.Check] = {
    "executor": values.choice(("local", "inline", "slurm"), "executor"),
    "slots": values.whole_number(1),
    "checkpoint_every_s": values.amount("seconds"),
    "log_every": values.whole_number(1),
    "processes_per_run": values.whole_number(1),
    "home": values.line,
    "hang_patience_s": values.amount("seconds"),
    "quiet_patience_s": values.amount("seconds"),
}
_RESOURCES: Mapping[str, values.Check] = {
    "partition": values.word,
    "account": values.word,
    "qos": values.word,
    "nodes": values.whole_number(1),
    "gpus": values.whole_number(0),
    "gpu_type": values.word,
    "cpus": values.whole_number(1),
    "memory_gb": values.memory,
    "time_min": values.whole_amount("minutes", 10**7),
    "constraint": values.word,
    "exclude": values.list_of(values.word, "[node1, node2]"),
}
_SLURM: Mapping[str, values.Check] = {
    "setup": values.list_of(values.shell_line, "['module load cuda']"),
    "python": values.line,
    "environment": values.variables,
    "mode": values.choice([mode.value for mode in Mode], "mode"),
    "runs_per_job": values.whole_number(1),
    "idle_s": values.amount("seconds"),
    "poll_s": values.amount("seconds"),
    "warning_s": values.whole_amount("seconds", 65535),
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
        slurm = _slurm(given, phases, _written(text, "environment"), problems)
        check_together(slurm, site.processes_per_run, problems)
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


def _slurm(given: Mapping[str, Any], phases: Any, written: Mapping[str, str], problems: list[Problem]) -> Slurm:
    resources = Resources(**{key: value for key, value in given.items() if key in _RESOURCES})
    rest = {key: value for key, value in given.items() if key in _SLURM}
    if "mode" in rest:
        rest["mode"] = Mode(rest["mode"])
    if "environment" in rest:  # as it is written: 1.10 is not 1.1
        rest["environment"] = {n: written.get(n, str(content)) for n, content in rest["environment"].items()}
    return Slurm(resources=resources, phases=_phases(phases, resources, problems), **rest)


def _written(text: str, key: str) -> Mapping[str, str]:
    """The values under a key of the file as they stand there, by their names."""
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = top.value if isinstance(top, yaml.MappingNode) else []
    under = next((node for name, node in pairs if name.value == key), None)
    members = under.value if isinstance(under, yaml.MappingNode) else []
    return {name.value: node.value for name, node in members if isinstance(node, yaml.ScalarNode)}


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
