"""What the site file declares, as sbatch is told it: for submissions, and for asking SLURM's opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study.plan.site import Resources


def directives(resources: Resources, exclude: Sequence[str] = ()) -> dict[str, Any]:
    """What sbatch is told about resources: name of the option → value; what the site leaves open is not there.

    Args:
        resources: of one job.
        exclude: nodes to avoid beyond those of the site.
    """
    gres = ":".join(["gpu", *filter(None, [resources.gpu_type]), str(resources.gpus)])
    values = {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "nodes": resources.nodes,
        "cpus-per-task": resources.cpus,
        "mem": None if resources.memory_mb is None else f"{resources.memory_mb}M",
        "gres": gres if resources.gpus else None,
        "time": int(resources.time_min),
        "exclude": ",".join([*resources.exclude, *exclude]) or None,
    }
    return {name: value for name, value in values.items() if value is not None}
