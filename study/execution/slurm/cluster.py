"""Asking the live cluster what it offers and limits."""

from __future__ import annotations

import getpass
import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from study.execution.slurm.commands import ask
from study.execution.slurm.offer import Admission, Association, Cluster, Limits, Node, Partition
from study.plan.site_values import minutes_of

__all__ = ["Cluster", "parse_gpus", "parse_partitions", "read_cluster"]

_NOTHING = ("", "(null)", "N/A", "NONE", "None", "UNLIMITED", "INFINITE")
_NODE_FORMAT = "%N|%P|%c|%m|%G|%f|%T"


def read_cluster() -> Cluster | None:
    """Ask the cluster; None when no scheduler answers."""
    config_text = ask("scontrol", "show", "config")
    if config_text is None:
        return None
    partitions = ask("scontrol", "show", "partition", "-o")
    nodes = ask("sinfo", "-h", "-N", "-o", _NODE_FORMAT)
    if partitions is None or nodes is None:
        return None
    config = dict(re.findall(r"^(\S+)\s+= (.*?)\s*$", config_text, re.MULTILINE))
    name = config.get("ClusterName", "")
    enforced = set(config.get("AccountingStorageEnforce", "").lower().split(","))
    return Cluster(
        name=name,
        version=config.get("SLURM_VERSION", ""),
        partitions=parse_partitions(partitions, nodes),
        associations=_associations(name) if "associations" in enforced else None,
        qos=_qos() if "limits" in enforced else None,
        default_account=_default_account() if "associations" in enforced else None,
        max_array_size=max(1, int(config.get("MaxArraySize", 1001))),
        preempt_mode=config.get("PreemptMode", "OFF") if config.get("PreemptType") != "preempt/none" else "OFF",
    )


def parse_partitions(text: str, nodes_text: str) -> tuple[Partition, ...]:
    """Partitions with their nodes, from `scontrol show partition -o` and `sinfo -N -o '%N|%P|%c|%m|%G|%f|%T'`."""
    nodes: dict[str, list[Node]] = defaultdict(list)
    for line in nodes_text.splitlines():
        if line.count("|") != _NODE_FORMAT.count("|"):  # a heading, as with several clusters
            continue
        name, partition, cpus, memory, gres, features, state = line.strip().split("|")
        node = Node(name, _at_least(cpus), _at_least(memory), parse_gpus(gres), _names(features) or frozenset(), state)
        nodes[partition.removesuffix("*")].append(node)
    partitions = []
    for line in text.splitlines():
        values = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if "PartitionName" in values:
            partitions.append(_partition(values, nodes[values["PartitionName"]]))
    return tuple(partitions)


def parse_gpus(gres: str) -> dict[str, int]:
    """GPUs by type, from a GRES such as `gpu:a100:4(S:0-1),shard:8` or `gpu:2`."""
    gpus: Counter[str] = Counter()
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = part.strip().split(":")
        if kind == "gpu":
            count = int(rest.pop()) if rest and rest[-1].isdigit() else 1
            gpus[rest[0] if rest else ""] += count
    return dict(gpus)


def _partition(values: Mapping[str, str], nodes: list[Node]) -> Partition:
    return Partition(
        name=values["PartitionName"],
        is_default=values.get("Default") == "YES",
        state=values.get("State", "UP"),
        max_time_min=_minutes(values.get("MaxTime", "")),
        accounts=_admission(values, "Accounts"),
        qos=_admission(values, "Qos"),
        limits=None if values.get("QoS", "") in _NOTHING else values["QoS"],
        nodes=tuple(nodes),
    )


def _admission(values: Mapping[str, str], of: str) -> Admission:
    allowed = values.get(f"Allow{of}", "ALL")
    only = None if allowed == "ALL" else _names(allowed)
    return Admission(only, _names(values.get(f"Deny{of}", "")) or frozenset())


def _associations(cluster: str) -> tuple[Association, ...] | None:
    fields = "Account,Partition,QOS,DefaultQOS,MaxSubmitJobs,MaxJobs,MaxWall"
    rows = _accounting("assoc", fields, f"user={_user()}", f"cluster={cluster}")
    if rows is None:
        return None
    return tuple(
        Association(account, partition or None, tuple(filter(None, qos.split(","))), default or None, _limits(*limits))
        for account, partition, qos, default, *limits in rows
    )


def _qos() -> Mapping[str, Limits] | None:
    rows = _accounting("qos", "Name,MaxSubmitJobsPerUser,MaxJobsPerUser,MaxWall")
    return None if rows is None else {name: _limits(*limits) for name, *limits in rows}


def _default_account() -> str | None:
    rows = _accounting("user", "DefaultAccount", f"name={_user()}")
    return rows[0][0] or None if rows else None


def _accounting(what: str, fields: str, *conditions: str) -> list[list[str]] | None:
    where = ["where", *conditions] if conditions else []
    answer = ask("sacctmgr", "-n", "-P", "show", what, *where, f"format={fields}")
    return None if answer is None else [line.split("|") for line in answer.splitlines() if line.strip()]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in some containers
        return ""


def _limits(max_submit_jobs: str, max_jobs: str, max_wall: str) -> Limits:
    return Limits(_count(max_submit_jobs), _count(max_jobs), _minutes(max_wall))


def _count(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _minutes(text: str) -> float | None:
    return None if text in _NOTHING else minutes_of(text)


def _at_least(text: str) -> int:
    return int(text.rstrip("+"))  # several values are shown as the smallest and a plus


def _names(text: str) -> frozenset[str] | None:
    return None if text in _NOTHING else frozenset(text.split(","))
