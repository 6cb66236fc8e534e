"""One run trained by the processes of two machines: it is preempted, goes on, and ends as on one."""

from __future__ import annotations

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from study.journal.endings import EndKind
from study.journal.files import read_json
from study.paths import RunPaths
from tests.fakes.command import Sweep
from tests.fakes.slurm_cluster import NODES, SlurmCluster
from tests.fakes.tiny_study import wait_for
from tests.slurm.conftest import STUDY
from tests.slurm.test_survival import MakeSweep, finish, job_of, verdicts

# Rounding grows slowly under SGD, in 60 steps at this rate from 1e-6 to 2e-4 of the weights (at ten times the rate to
# 2e-2, in one process, too); AdamW would turn that of tiny gradients into whole steps.
UNTUNED = (
    "tune=none", "arms.uniformity={criterion: uniformity, strength: 0.2}",
    "base.optimizer={name: sgd, lr: 0.005, warmup_epochs: 0}", "continuation.optimizer={name: sgd, lr: 0.0005}",
)  # fmt: skip


def weights(run: RunPaths) -> Tensor:
    tensors = load_file(run.weights)
    return torch.cat(
        [tensors[name].flatten().double() for name in sorted(tensors) if tensors[name].is_floating_point()]
    )


@pytest.mark.slurm_slow
def test_two_nodes_train_a_run(cluster: SlurmCluster, sweep: MakeSweep, tmp_path, store: str) -> None:
    study = sweep(*UNTUNED, mode="jobs", nodes=2, processes_per_run=2, slots=1)
    command = study.start()
    attempt = study.wait_until_training()
    job_id, nodes = job_of(attempt, cluster)
    assert nodes == f"{NODES[0][:-1]}[1-2]"
    ranks = [
        p.info["environ"] for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("RANK") == "1"
    ]
    assert [rank["SLURMD_NODENAME"] for rank in ranks] == [NODES[1]]
    assert (ranks[0]["LOCAL_RANK"], ranks[0]["WORLD_SIZE"]) == ("0", "2")
    cluster.preempt(NODES[1], 3)
    finish(command)
    assert EndKind.PREEMPTED in {kind for kind, _ in verdicts(study)}
    wait_for(lambda: not cluster.jobs(), "an empty queue", 30)
    assert not [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("SLURM_JOB_ID") == job_id]
    here = Sweep(tmp_path, tmp_path / "here", store, (*STUDY, *UNTUNED))
    finish(here.start())
    alone = {run.root.name: run for run in here.runs()}
    assert {run.root.name for run in study.runs()} == alone.keys()
    for run in study.runs():
        expected, found = weights(alone[run.root.name]), weights(run)
        assert float((found - expected).norm() / expected.norm()) < 1e-3, run.root.name
        of_base = {"base_weights": "", "loaded_weights": ""}
        paired = [read_json(r.trained)["paired"] | of_base for r in (run, alone[run.root.name])]
        assert paired[0] == paired[1], "the same images and augmentation; bases differ by rounding"
