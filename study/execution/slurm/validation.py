"""A site against the live cluster: every reason why its jobs would be refused, or wait for ever.

What passes, such as a partition that is down, is no such reason: a study waits for it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from study.errors import PlanError, Problem, UserError, did_you_mean
from study.execution.slurm.cluster import read_cluster
from study.execution.slurm.fit import check_nodes, expand_nodes
from study.execution.slurm.offer import Cluster, Partition
from study.plan.site import SLURM_SLOTS, Mode, Resources, Site
from study.plan.yaml_out import typed

_READ_BY_SLURM = "%\\:"


def require_valid(site: Site, path: Path, home: Path) -> None:
    """Make sure that the cluster takes the site's jobs; sites that do not use SLURM are left alone.

    Args:
        site: what the file says.
        path: the file; for messages.
        home: the study home, whose path stands in every job.

    Raises:
        UserError: no scheduler answers, or jobs cannot be told where the home is.
        PlanError: with everything that the cluster would refuse, or leave waiting for ever.
    """
    if site.slurm is None:
        return
    if bad := sorted(set(_READ_BY_SLURM) & set(str(home))):
        what = "SLURM reads % and \\ in the names of logs as its own signs, and Python takes : for the end of a folder"
        raise UserError(f"the study home {home} has {' '.join(bad)} in its path: {what}; name another with --home DIR")
    problems = check_site(site, live_cluster(path))
    if problems:
        raise PlanError(str(path), problems)


def live_cluster(path: Path) -> Cluster:
    """The cluster that answers here.

    Args:
        path: the site file that wants it; for messages.

    Raises:
        UserError: none does.
    """
    has_commands = shutil.which("scontrol") is not None
    cluster = read_cluster() if has_commands else None
    if cluster is not None:
        return cluster
    reason = "no scheduler answers; `scontrol ping` shows whether it is there"
    if not has_commands:
        reason = "its commands are not on $PATH; log in to the cluster, or load its module"
    raise UserError(f"{path} needs SLURM, but {reason}. To run on this machine: --site slurm/workstation.yaml")


def check_site(site: Site, cluster: Cluster) -> list[Problem]:
    """Everything that keeps the site's jobs from starting.

    Args:
        site: what a file says.
        cluster: what there is.
    """
    if site.slurm is None:
        return []
    problems: list[Problem] = []
    inherited: set[Problem] = set()
    for place, resources in site.slurm.requests.items():
        found = [*_check_partitions(resources, cluster), *_check_exclude(resources, cluster)]
        if place:
            problems += [Problem(f"{place}.{p.path}", p.message) for p in found if p not in inherited]
        else:
            inherited.update(found)
            problems += found
    return [*problems, *_check_number_of_jobs(site, cluster)]


def num_jobs(site: Site) -> int:
    """Jobs at once that the site's slots need."""
    if site.slurm is None:
        return 0
    return math.ceil((site.slots or SLURM_SLOTS) / site.slurm.runs_per_job)


def _check_partitions(resources: Resources, cluster: Cluster) -> Iterator[Problem]:
    names = [partition.name for partition in cluster.partitions]
    if resources.partition is None:
        if cluster.default_partition is None:
            yield Problem("partition", f"is missing, and {cluster.name} has no default one. Known: {', '.join(names)}.")
    else:
        for name in resources.partition.split(","):
            if name not in names:
                yield Problem("partition", f"no partition {name!r} on {cluster.name}.{did_you_mean(name, names)}")
    for partition in cluster.partitions_of(resources):
        yield from _check_partition(resources, partition, cluster)
    yield from _check_account(resources, cluster)


def _check_partition(resources: Resources, partition: Partition, cluster: Cluster) -> Iterator[Problem]:
    accounted = f"account or QoS ({cluster.qos_of(resources, partition) or 'the default'})"
    for what, limit in (
        (f"partition {partition.name!r}", partition.max_time_min),
        (accounted, cluster.limits(resources, partition).max_time_min),
    ):
        if limit is not None and resources.time_min > limit:
            advice = f"{what} allows at most {typed(limit)}; write `time_min: {typed(limit)}` or less"
            yield Problem("time_min", f"{typed(resources.time_min)} minutes, but {advice}")
    yield from check_nodes(resources, partition)


def _check_account(resources: Resources, cluster: Cluster) -> Iterator[Problem]:
    if cluster.associations is None:
        return
    accounts = sorted({association.account for association in cluster.associations})
    account = resources.account or cluster.default_account
    if not accounts:
        yield Problem("account", f"you have none on {cluster.name}; its administrators can give you one")
        return
    if account not in accounts:
        known = did_you_mean(account, accounts)
        yield Problem("account", f"you may not charge {account!r}.{known}" if account else f"name one.{known}")
        return
    for partition in cluster.partitions_of(resources):
        association = cluster.association(resources, partition)
        qos = cluster.qos_of(resources, partition)
        if association is None or not partition.accounts.admits(account):
            usable = [name for name in accounts if _may_use(name, partition, cluster)]
            hint = f"it takes {', '.join(usable)}" if usable else "it takes none of yours; choose another partition"
            yield Problem("account", f"partition {partition.name!r} does not take account {account!r}; {hint}")
        elif resources.qos is not None and association.qos and qos not in association.qos:
            known = did_you_mean(qos, association.qos)
            yield Problem("qos", f"account {account!r} may not use QoS {qos!r}.{known}")
        elif not partition.qos.admits(qos):
            allowed = sorted(partition.qos.only or set(association.qos) - partition.qos.never)
            message = f"partition {partition.name!r} does not take QoS {qos!r}; it takes {', '.join(allowed) or 'none'}"
            yield Problem("qos", message)


def _may_use(account: str, partition: Partition, cluster: Cluster) -> bool:
    there = any(
        association.account == account and association.partition in (None, partition.name)
        for association in cluster.associations or ()
    )
    return there and partition.accounts.admits(account)


def _check_exclude(resources: Resources, cluster: Cluster) -> Iterator[Problem]:
    known = sorted({node.name for partition in cluster.partitions for node in partition.nodes})
    for name in expand_nodes(resources.exclude):
        if name not in known:
            yield Problem("exclude", f"no node {name!r} on {cluster.name}.{did_you_mean(name, known[:40])}")


def _check_number_of_jobs(site: Site, cluster: Cluster) -> Iterator[Problem]:
    """Workers are all wanted at once; jobs of single runs are submitted as there is room."""
    slurm = site.slurm
    if slurm is None or slurm.mode is Mode.JOBS:
        return
    wanted = min(num_jobs(site), slurm.max_jobs or num_jobs(site))
    limit = min((n for r in slurm.requests.values() if (n := cluster.submit_limit(r)) is not None), default=None)
    if limit is not None and wanted > limit:
        runs = f"{site.slots} runs at once, {slurm.runs_per_job} per job, need {wanted} jobs"
        advice = f"write `slots: {max(1, limit) * slurm.runs_per_job}`, or `max_jobs: {max(1, limit)}`"
        yield Problem("slots", f"{runs}, but SLURM takes at most {limit} jobs from you (MaxSubmitJobs); {advice}")
