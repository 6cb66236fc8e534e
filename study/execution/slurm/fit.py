"""Which nodes can carry a job when nothing else runs on them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from study.errors import Problem
from study.execution.slurm.offer import Node, Partition
from study.plan.site import Resources

_FEATURE = re.compile(r"[^\s&|()\[\],*!]+")
_HOST_RANGES = re.compile(r"(.*?)\[([\d,-]+)\](.*)")
_MANY = 8


def fitting_nodes(resources: Resources, partition: Partition) -> list[Node]:
    """Nodes that are not excluded and have all that a job asks for."""
    excluded = set(expand_nodes(resources.exclude))
    return [node for node in partition.nodes if node.name not in excluded and not _lacks(resources, node)]


def check_nodes(resources: Resources, partition: Partition) -> Iterator[Problem]:
    """One problem per key that no node meets; else one when no node meets all of them."""
    nodes, where = partition.nodes, f"no node of partition {partition.name!r}"
    if not nodes:
        yield Problem("partition", f"{partition.name!r} has no nodes")
        return
    if fitting := fitting_nodes(resources, partition):
        if len(fitting) < resources.nodes:
            there = f"only {len(fitting)} of partition {partition.name!r} with {describe_request(resources)}"
            message = f"{resources.nodes} machines per job, but {there}; write `nodes: {len(fitting)}` or less"
            yield Problem("nodes", message)
        return
    lacking = [_lacks(resources, node) for node in nodes]
    impossible = set.intersection(*lacking)
    if "gpus" in impossible:
        yield Problem("gpus", f"{where} has {_gpus(resources)}; they have {_each(map(describe_gpus, nodes))}")
    if "cpus" in impossible:
        most = max(node.num_cpus for node in nodes)
        yield Problem("cpus", f"{where} has {resources.cpus} CPUs; write `cpus: {most}` or less")
    if "memory_gb" in impossible:
        most_mb = max(node.memory_mb for node in nodes)
        most_gb = most_mb // 1024 or math.floor(most_mb / 1024 * 100) / 100
        advice = f"they have at most {_gb(most_mb)}; write `memory_gb: {most_gb:g}` or less"
        yield Problem("memory_gb", f"{where} has {resources.memory_gb:g} GB; {advice}")
    if "constraint" in impossible:
        yield Problem("constraint", f"{where} satisfies {resources.constraint!r}; they have {features_of(nodes)}")
    if not impossible:
        together = f"{where} has {describe_request(resources)} together"
        if set() in lacking:
            yield Problem("exclude", f"leaves {where} that has {describe_request(resources)}")
        else:
            yield Problem("gpus" if resources.gpus else "cpus", f"{together}: {_list_nodes(nodes)}")


def describe_request(resources: Resources) -> str:
    """What a job asks of its node, in words."""
    parts = [f"{resources.cpus} CPU{'s' if resources.cpus != 1 else ''}"]
    if resources.gpus:
        parts.append(_gpus(resources))
    if resources.memory_gb is not None:
        parts.append(f"{resources.memory_gb:g} GB")
    if resources.constraint:
        parts.append(f"features {resources.constraint!r}")
    return ", ".join(parts)


def describe_gpus(node: Node) -> str:
    """The GPUs of a node, e.g. `4 × a100`."""
    kinds = [f"{count} × {kind}" if kind else f"{count} GPUs" for kind, count in sorted(node.gpus.items())]
    return " + ".join(kinds) or "no GPU"


def describe_node(node: Node) -> str:
    """What a node has, in words; features apart, which come in countless combinations."""
    return f"{node.num_cpus} CPUs, {describe_gpus(node)}, {_gb(node.memory_mb)} GB"


def features_of(nodes: Iterable[Node]) -> str:
    """What constraints may ask for, in words."""
    names = sorted({feature for node in nodes for feature in node.features})
    return f"features {', '.join(names)}" if names else "no features"


def expand_nodes(names: Iterable[str]) -> list[str]:
    """Single nodes from SLURM's short form, e.g. `node[1-3,7]`."""
    expanded = []
    for name in (part for text in names for part in re.split(r",(?![^\[]*\])", text)):
        match = _HOST_RANGES.fullmatch(name)
        if match is None:
            expanded.append(name)
            continue
        before, ranges, after = match.groups()
        for part in ranges.split(","):
            low, _, high = part.partition("-")
            if low.isdigit() and (high or low).isdigit():
                numbers = range(int(low), int(high or low) + 1)
                expanded += expand_nodes(f"{before}{number:0{len(low)}d}{after}" for number in numbers)
            else:
                expanded.append(name)
    return expanded


def _lacks(resources: Resources, node: Node) -> set[str]:
    """Keys of what a job asks for and the node does not have."""
    meets = {
        "gpus": node.num_gpus(resources.gpu_type) >= resources.gpus,
        "cpus": node.num_cpus >= resources.cpus,
        "memory_gb": node.memory_mb >= (resources.memory_mb or 0),
        "constraint": resources.constraint is None or _satisfies(resources.constraint, node.features),
    }
    return {key for key, is_met in meets.items() if not is_met}


def _satisfies(constraint: str, features: frozenset[str]) -> bool:
    """Whether one node may satisfy a constraint: exact for names joined by & or by |, hopeful about anything deeper."""
    if "!" in constraint:
        return True
    names = _FEATURE.findall(re.sub(r"\*\d+", "", constraint))
    return (any if "|" in constraint else all)(name in features for name in names)


def _gpus(resources: Resources) -> str:
    kind = f" of type {resources.gpu_type!r}" if resources.gpu_type else ""
    return f"{resources.gpus} GPU{'s' if resources.gpus != 1 else ''}{kind}"


def _each(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _list_nodes(nodes: Sequence[Node]) -> str:
    shown = [f"{node.name} has {describe_node(node)}, {features_of([node])}" for node in nodes[:_MANY]]
    return "; ".join([*shown, *(["…"] if len(nodes) > _MANY else [])])


def _gb(memory_mb: int) -> str:
    return f"{round(memory_mb / 1024, 1):g}"
