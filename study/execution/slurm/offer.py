"""What a cluster offers and limits: partitions, nodes, accounts, QoS.

Limits that the accounting keeps may be hidden from a user, or not be enforced; then nothing is known about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from study.plan.site import Resources

_USELESS = ("down", "drain", "fail", "unk", "err", "inval", "future", "maint")


@dataclass(frozen=True)
class Node:
    """One node as a partition offers it.

    Attributes:
        name: as SLURM calls it.
        num_cpus: CPUs, in the cluster's own counting.
        memory_mb: memory.
        gpus: GPUs by type; those without a type are under the empty name.
        features: what constraints may ask for.
        state: in SLURM's word, e.g. `idle`, `mixed`, `drained*`.
    """

    name: str
    num_cpus: int
    memory_mb: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    state: str = "idle"

    @property
    def is_up(self) -> bool:
        """Whether jobs start on it, now or when others have ended."""
        return not self.state.lower().startswith(_USELESS) and "*" not in self.state

    def num_gpus(self, gpu_type: str | None = None) -> int:
        """GPUs of one type, or of all."""
        return self.gpus.get(gpu_type, 0) if gpu_type else sum(self.gpus.values())


@dataclass(frozen=True)
class Admission:
    """Who may come in: only those in `only`, where that is not None, and none of `never`."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    def admits(self, name: str | None) -> bool:
        """Whether a name is let in; one that is not known is."""
        return name is None or (name not in self.never and (self.only is None or name in self.only))


@dataclass(frozen=True)
class Limits:
    """What the accounting allows; None: no limit.

    Attributes:
        max_submit_jobs: jobs of a user that wait or run.
        max_jobs: jobs of a user that run.
        max_time_min: time limit of a job.
    """

    max_submit_jobs: int | None = None
    max_jobs: int | None = None
    max_time_min: float | None = None


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes:
        name: as SLURM calls it.
        is_default: whether jobs that name none go there.
        state: `UP`, `DOWN` (jobs wait), `DRAIN` or `INACTIVE`.
        max_time_min: longest time limit; None: no limit.
        accounts, qos: which are let in.
        limits: name of the QoS that limits all its jobs.
        nodes: those of it.
    """

    name: str
    is_default: bool = False
    state: str = "UP"
    max_time_min: float | None = None
    accounts: Admission = Admission()
    qos: Admission = Admission()
    limits: str | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether jobs start in it."""
        return self.state == "UP"


@dataclass(frozen=True)
class Association:
    """An account that the user may charge, perhaps in one partition alone.

    Attributes:
        account: its name.
        partition: the only one where it holds; None: everywhere.
        qos: those that may be asked for.
        default_qos: the one that jobs get which ask for none.
        limits: of the user in this account.
    """

    account: str
    partition: str | None = None
    qos: tuple[str, ...] = ()
    default_qos: str | None = None
    limits: Limits = Limits()


@dataclass(frozen=True)
class Cluster:
    """A cluster whose scheduler has answered.

    Attributes:
        name: as SLURM calls it.
        version: of SLURM.
        partitions: those that the user may see.
        associations: of the user; None: not known, or not enforced.
        qos: limits by QoS; None: not known, or not enforced.
        default_account: the one that jobs charge which name none.
        max_array_size: members of one array; 1: no arrays.
        preempt_mode: what happens to preempted jobs; `OFF`: there is no preemption.
    """

    name: str
    version: str
    partitions: tuple[Partition, ...]
    associations: tuple[Association, ...] | None = None
    qos: Mapping[str, Limits] | None = None
    default_account: str | None = None
    max_array_size: int = 1001
    preempt_mode: str = "OFF"

    @property
    def default_partition(self) -> Partition | None:
        """Where jobs go that name no partition."""
        return next((partition for partition in self.partitions if partition.is_default), None)

    def partitions_of(self, resources: Resources) -> list[Partition]:
        """Those that a job names and that exist, else the default one."""
        if resources.partition is None:
            return [self.default_partition] if self.default_partition else []
        names = resources.partition.split(",")
        return [partition for partition in self.partitions if partition.name in names]

    def association(self, resources: Resources, partition: Partition) -> Association | None:
        """What the user's jobs are charged to; None when nothing is known, or nothing allows them."""
        account = resources.account or self.default_account
        mine = [a for a in self.associations or () if a.account == account and a.partition in (None, partition.name)]
        return max(mine, key=lambda association: association.partition is not None, default=None)

    def qos_of(self, resources: Resources, partition: Partition) -> str | None:
        """The QoS that a job gets; None: not known."""
        association = self.association(resources, partition)
        return resources.qos or (association.default_qos if association else None)

    def limits(self, resources: Resources, partition: Partition) -> Limits:
        """What holds for a job: the partition's QoS goes before the job's, and that before the user's association.

        Source: https://slurm.schedmd.com/resource_limits.html, "Hierarchy".
        """
        association = self.association(resources, partition)
        qos = self.qos or {}
        sources = [
            qos.get(partition.limits or "", Limits()),
            qos.get(self.qos_of(resources, partition) or "", Limits()),
            association.limits if association else Limits(),
        ]
        return Limits(
            next((s.max_submit_jobs for s in sources if s.max_submit_jobs is not None), None),
            next((s.max_jobs for s in sources if s.max_jobs is not None), None),
            next((s.max_time_min for s in sources if s.max_time_min is not None), None),
        )

    def submit_limit(self, resources: Resources) -> int | None:
        """How many such jobs of the user may wait and run at once; None: no limit is known."""
        limits = [self.limits(resources, partition).max_submit_jobs for partition in self.partitions_of(resources)]
        return min((limit for limit in limits if limit is not None), default=None)
