"""What the site file declares, and what a real cluster says it has understood."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.execution.slurm.select import slurm_executor
from study.execution.slurm.submission import submit_attempts, submit_worker
from study.paths import HomePaths
from study.plan.site import load_site
from tests.fakes.slurm_cluster import NODES, SlurmCluster

SITES = {
    "partition: gpu": {"Partition": "gpu", "TimeLimit": "01:00:00", "NumNodes": "1-1", "CPUs/Task": "1"},
    "partition: high\ntime_min: 61\nwarning_s: 90": {"Partition": "high", "TimeLimit": "01:01:00"},
    "memory_gb: 0.15": {"MinMemoryNode": "154M"},
    "memory_gb: 0.001": {"MinMemoryNode": "2M"},
    "memory_gb: 2": {"MinMemoryNode": "2G"},
    "cpus: 3\nruns_per_job: 3": {"CPUs/Task": "3", "NumCPUs": "3"},
    "gpus: 2": {"TresPerNode": "gres:gpu:2"},
    "mode: jobs\nnodes: 2\nprocesses_per_run: 2": {"NumNodes": "2-2", "NumTasks": "2"},
    "exclude: [node1]": {"ExcNodeList": "node1"},
}


def understood(cluster: SlurmCluster, job_id: str) -> dict[str, str]:
    words = cluster.run("scontrol", "--oneliner", "show", "job", job_id).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.fixture
def waiting(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """A cluster that starts nothing, and is left without jobs."""
    for node in NODES:
        cluster.drain(node)
    yield cluster
    cluster.run("scancel", "--me")


def test_the_cluster_has_understood_what_is_declared(waiting: SlurmCluster, tmp_path: Path) -> None:
    file, folder = tmp_path / "site.yaml", tmp_path / 'it\'s a $HOME; "x" #1'
    for number, (text, declared) in enumerate(SITES.items()):
        file.write_text(f"executor: slurm\n{text}\n")
        slurm = load_site(file).slurm
        log = folder / str(number)
        job_id = submit_worker(log, folder, f"study-x-{number}", slurm.resources, slurm, tmp_path, [])
        found = understood(waiting, job_id)
        assert {key: found.get(key) for key in declared} == declared, text
        assert (found["JobName"], found["Requeue"]) == (f"study-x-{number}", "0")
        assert str(log / f"{job_id}_0_log.out") in waiting.run("scontrol", "show", "job", job_id)


def test_slots_are_slots(waiting: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wider than submitit's 256 and than the thousand that nobody asked for, as far as MaxArraySize goes."""
    file = tmp_path / "site.yaml"
    file.write_text("executor: slurm\nmode: jobs\nslots: 1200\n")
    site = load_site(file)
    assert site.slurm is not None and site.slots is not None
    attempts = [tmp_path / str(i) for i in range(300)]
    first, *_, last = submit_attempts(
        tmp_path / "log", attempts, "study-x", site.slurm.resources, site.slurm, tmp_path, []
    )
    assert last == f"{first.split('_')[0]}_299"
    assert understood(waiting, first.split("_")[0])["ArrayTaskThrottle"] in ("300", "0")
    monkeypatch.setenv("SLURM_CONF", os.fspath(waiting.conf))
    executor = slurm_executor(HomePaths(tmp_path / "home").study("tiny"), site.slurm, site.slots, tmp_path)
    assert executor.capacity == 1200
