"""The cluster that the other tests stand on does what real ones do."""

from __future__ import annotations

from tests.fakes.slurm_cluster import NODES, SlurmCluster
from tests.fakes.tiny_study import wait_for


def test_nothing_is_open_to_the_world(cluster: SlurmCluster) -> None:
    assert cluster.ports() == {"127.0.0.1"}


def test_jobs_run_on_every_node_and_are_accounted_for(cluster: SlurmCluster, tmp_path) -> None:
    for node in NODES:
        answer = tmp_path / node
        job_id = cluster.run(
            "sbatch", "--parsable", "--gres=gpu:1", "-w", node, "-o", str(answer),
            "--wrap", "echo $SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES:-none}",
        )  # fmt: skip
        state = ("sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id)
        wait_for(lambda state=state: cluster.run(*state) == "COMPLETED", f"a job on {node}", 20)
        assert answer.read_text().split() == [node, "0"]


def test_the_second_partition_preempts(cluster: SlurmCluster) -> None:
    job_id = cluster.run("sbatch", "--parsable", "--no-requeue", "-w", "node1", "-o", "/dev/null", "--wrap", "sleep 60")
    wait_for(lambda: cluster.jobs()[job_id][1] == "RUNNING", "a job", 20)
    cluster.preempt("node1", 1)
    state = ("sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id)
    wait_for(lambda: cluster.run(*state) == "PREEMPTED", "its preemption", 20)
