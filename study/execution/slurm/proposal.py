"""A site file for the cluster that answers here, and what can be said about one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from study.execution.slurm.fit import describe_gpus, describe_node, describe_request, features_of, fitting_nodes
from study.execution.slurm.offer import Cluster, Node, Partition
from study.execution.slurm.validation import num_jobs
from study.plan.site import SLURM_SLOTS, Resources, Site

_CPUS, _MEMORY_GB, _TIME_MIN = 4, 16, 240  # proposed where the cluster has that much
_KINDS = 4  # of nodes on one line

_TEMPLATE = """\
# Runs on {cluster}, SLURM {version}. Every key: slurm/README.md. Try this file: python -m study site check FILE
executor: slurm
slots: {slots}                 # runs at once
mode: workers            # jobs that stay and execute one run after another | jobs: one job per run

# Partitions:
{partitions}
partition: {partition}
{account}{gpus}cpus: {cpus}                  # per job
memory_gb: {memory_gb}             # per job
time_min: {time_min}            # per job; short jobs start earlier, and what they cut off carries on in the next one

# setup: [module load cuda]              # shell lines before Python starts
# python: apptainer exec --nv image.sif python
# phases: {{prepare: {{time_min: {time_min}}}}}      # what the jobs of a phase ask for instead: prepare, tune, confirm
"""


def propose_site(cluster: Cluster) -> str:
    """The text of a site file that the cluster takes: its default partition, one GPU where there are any.

    Args:
        cluster: what there is.
    """
    partition = _best_partition(cluster)
    node = max(partition.nodes, key=lambda n: (n.is_up, n.num_gpus(), n.memory_mb), default=Node("", 1, 1024))
    account = _account(cluster, partition)
    gpus = min(1, node.num_gpus())
    cpus = min(_CPUS, max(1, node.num_cpus // max(1, node.num_gpus())))
    probe = Resources(partition=partition.name, account=account)
    limits = [partition.max_time_min, cluster.limits(probe, partition).max_time_min, _TIME_MIN]
    limit = cluster.submit_limit(probe)
    return _TEMPLATE.format(
        cluster=cluster.name,
        version=cluster.version,
        slots=SLURM_SLOTS if limit is None else max(1, min(SLURM_SLOTS, limit)),
        partitions="\n".join(f"#   {describe_partition(other)}" for other in cluster.partitions),
        partition=partition.name,
        account=_account_lines(cluster, account),
        gpus=_gpu_lines(partition, gpus),
        cpus=cpus,
        memory_gb=max(1, min(_MEMORY_GB, node.memory_mb * cpus // max(1, node.num_cpus) // 1024)),
        time_min=int(max(1, min(minutes for minutes in limits if minutes is not None))),
    )


def describe_partition(partition: Partition) -> str:
    """A partition on one line: limits and nodes."""
    limit = "no time limit" if partition.max_time_min is None else f"at most {partition.max_time_min:g} minutes"
    kinds = Counter(map(describe_node, partition.nodes))
    nodes = "; ".join(
        f"{count} node{'s' if count > 1 else ''} with {kind}" for kind, count in kinds.most_common(_KINDS)
    )
    if len(kinds) > _KINDS:
        nodes += f"; {len(kinds) - _KINDS} more kinds of nodes"
    default = " (default)" if partition.is_default else ""
    return (
        f"{partition.name}{default}: {partition.state}, {limit}; {nodes or 'no nodes'}; {features_of(partition.nodes)}"
    )


def describe_site(site: Site, cluster: Cluster) -> Iterator[str]:
    """What is known about a site that the cluster takes, one fact per line."""
    if site.slurm is None:
        yield f"executor {site.executor}: runs go to this machine"
        return
    yield f"cluster {cluster.name}, SLURM {cluster.version}; preemption: {cluster.preempt_mode}"
    for place, resources in site.slurm.requests.items():
        prefix = f"{place}: " if place else ""
        yield f"{prefix}one job has {describe_request(resources)} for {resources.time_min:g} minutes"
        for partition in cluster.partitions_of(resources):
            yield f"{prefix}partition {describe_partition(partition)}"
            if not partition.is_up:
                up = ", ".join(other.name for other in cluster.partitions if other.is_up) or "none"
                waits = f"nothing starts in {partition.name} at present; a study waits until it is up"
                yield f"{prefix}{waits}. Up now: {up}"
            nodes = fitting_nodes(resources, partition)
            num_up = sum(node.is_up for node in nodes)
            yield f"{prefix}{len(nodes)} of its {len(partition.nodes)} nodes fit, {num_up} of them are up"
            association = cluster.association(resources, partition)
            if association is not None:
                qos = cluster.qos_of(resources, partition) or "the default one"
                yield f"{prefix}account {association.account}, QoS {qos}"
        limit = cluster.submit_limit(resources)
        yield f"{prefix}jobs of yours that wait and run: {'no limit known' if limit is None else f'at most {limit}'}"
    wanted = min(num_jobs(site), site.slurm.max_jobs or math.inf)
    yield f"{site.slots} runs at once, {site.slurm.runs_per_job} per job: {wanted} jobs, mode {site.slurm.mode}"


def _best_partition(cluster: Cluster) -> Partition:
    """The default one, unless nothing starts there for this user."""

    def rank(partition: Partition) -> tuple[bool, bool]:
        return partition.is_up and _account(cluster, partition) != "", partition.is_default

    return max(cluster.partitions, key=rank, default=Partition(""))


def _account(cluster: Cluster, partition: Partition) -> str | None:
    """None: the default one will do; empty: the partition takes none of the user's."""
    if cluster.associations is None:
        return None
    names = [association.account for association in cluster.associations]
    for account in (None, *dict.fromkeys(names)):
        resources = Resources(account=account)
        association = cluster.association(resources, partition)
        if association is not None and partition.accounts.admits(association.account):
            return account
    return ""


def _account_lines(cluster: Cluster, account: str | None) -> str:
    if cluster.associations is None:
        return ""
    names = dict.fromkeys(association.account for association in cluster.associations)
    default = f"; without the key: {cluster.default_account}" if cluster.default_account else ""
    line = f"account: {account}" if account else f"# account: {cluster.default_account or next(iter(names), 'NAME')}"
    lines = f"{line}   # yours: {', '.join(names) or 'none'}{default}\n"
    qos = sorted({name for association in cluster.associations for name in association.qos})
    return lines + (f"# qos: {qos[0]}   # yours: {', '.join(qos)}\n" if qos else "")


def _gpu_lines(partition: Partition, gpus: int) -> str:
    kinds = sorted({kind for node in partition.nodes for kind in node.gpus if kind})
    offered = ", ".join(sorted({describe_gpus(node) for node in partition.nodes}))
    lines = f"gpus: {gpus}                  # per job; nodes have {offered or 'none'}\n"
    return lines + (f"# gpu_type: {kinds[0]}   # or {', '.join(kinds[1:]) or 'none other'}\n" if kinds else "")
