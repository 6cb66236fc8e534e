"""The tiny study goes to a real SLURM cluster, where things go wrong: every run completes once, with the same bits."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.journal.endings import EndKind
from study.journal.files import read_json
from study.journal.replay import replay_run
from study.orchestration.forecast import count_runs
from study.paths import AttemptPaths, PoolPaths
from study.plan.load import load_plan
from tests.fakes.command import Command, Sweep, pid_of
from tests.fakes.slurm_cluster import NODES, SlurmCluster
from tests.fakes.tiny_study import is_running, wait_for, weights_of

ROOT = Path(__file__).parents[2]
MakeSweep = Callable[..., Sweep]
Undisturbed = tuple[Sweep, Command]
UNTUNED = ("tune=none", "arms.uniformity={criterion: uniformity, strength: 0.2}")
NUM_RUNS = 2 + 2 + 3  # bases, trials, confirming runs


def check_complete(study: Sweep, undisturbed: Undisturbed) -> None:
    """Everything is there once, and equal to what comes out without any trouble."""
    reference = undisturbed[0]
    runs = {run.root.name: run for run in study.runs()}
    assert len(runs) == NUM_RUNS
    assert {n: weights_of(r) for n, r in runs.items()} == {r.root.name: weights_of(r) for r in reference.runs()}
    for name in ("comparison.csv", "contrasts.csv"):
        assert (study.study.report / name).read_bytes() == (reference.study.report / name).read_bytes()
    for run in runs.values():
        assert sum(attempt.is_trained for attempt in replay_run(run).attempts) >= 1
    trials = [read_json(path) for path in study.study.trials("uniformity")]
    assert [(trial["number"], trial["state"]) for trial in trials] == [(0, "complete"), (1, "complete")]
    assert not study.study.lease.exists()


def verdicts(study: Sweep) -> list[tuple[EndKind, str | None]]:
    """(class, node) of every ending that an orchestrator has judged, those of orders given back apart."""
    found = []
    for run in study.runs():
        for attempt in replay_run(run).attempts:
            if attempt.verdict is not None and attempt.verdict.kind is not EndKind.NOT_STARTED:
                found.append((attempt.verdict.kind, attempt.verdict.node))
    return found


def job_of(attempt: AttemptPaths, cluster: SlurmCluster) -> tuple[str, str]:
    """Job and node of an attempt that runs."""
    binding = read_json(attempt.job)["job"]
    if "pool" in binding:
        line = PoolPaths(Path(binding["pool"]))
        worker = read_json(line.taken(binding["number"]))["worker"]
        job_id = read_json(line.worker(worker).job)["job_id"]
    else:
        job_id = binding["job_id"]
    return job_id, cluster.jobs()[job_id][2]


def finish(command: Command) -> None:
    assert command.wait(400) == 0, command.output


def smoke(study: Sweep) -> Sweep:
    """Lets a sweep be the smoke study: all of a study, searches of six arms included."""
    study.text = (ROOT / "sweeps" / "smoke.yaml").read_text(encoding="utf-8")
    study.overrides = ("study=fashion-mnist-smoke",)
    finish(study.start())
    assert len(study.runs()) == sum(count_runs(load_plan(study.text, "smoke.yaml")).values())
    return study


def test_the_smoke_study(cluster: SlurmCluster, sweep: MakeSweep) -> None:
    study = smoke(sweep())
    for run in study.runs():
        assert sum(attempt.is_trained for attempt in replay_run(run).attempts) == 1, run.root
    assert verdicts(study) == []
    assert len(study.study.existing_workers()) == 2, "as many as slots: queueing and importing are paid once"
    assert {read_json(run.attempt(1).job)["executor"] for run in study.runs()} == {"slurm"}
    table = (study.study.report / "comparison.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in table} == {arm.name for arm in load_plan(study.text, "smoke.yaml").arms}


@pytest.mark.slurm_slow
def test_the_smoke_study_is_the_same_everywhere(
    cluster: SlurmCluster, sweep: MakeSweep, tmp_path: Path, store: str
) -> None:
    study, here = smoke(sweep()), smoke(Sweep(tmp_path, tmp_path / "here", store))
    assert {r.root.name: weights_of(r) for r in study.runs()} == {r.root.name: weights_of(r) for r in here.runs()}
    for name in ("comparison.csv", "contrasts.csv", "winners.csv"):
        assert (study.study.report / name).read_bytes() == (here.study.report / name).read_bytes()


def test_preempted(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    study = sweep()
    command = study.start()
    _, node = job_of(study.wait_until_training(), cluster)
    cluster.preempt(node, 3)
    finish(command)
    check_complete(study, undisturbed)
    found = verdicts(study)
    assert found and set(found) == {(EndKind.PREEMPTED, node)}
    assert re.search(r"attempt 1: preempted on " + node, command.output)


def test_a_node_is_lost(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    """Its processes go on, as on a node that was cut off: two attempts overlap, the first to finish wins."""
    study = sweep()
    command = study.start()
    attempt = study.wait_until_training()
    _, node = job_of(attempt, cluster)
    os.kill(pid_of(attempt), signal.SIGSTOP)  # so that it does not finish before SLURM notices
    cluster.kill_slurmd(node)
    finish(command)
    os.kill(pid_of(attempt), signal.SIGKILL)
    check_complete(study, undisturbed)
    assert (EndKind.NODE_LOST, node) in verdicts(study)
    last = study.study.existing_workers()[-1]
    assert f"--exclude={node}" in next(last.log.glob("*_submission.sh")).read_text()


def test_a_running_worker_that_the_user_cancels(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed
) -> None:
    """It is not replaced, and the other one carries on what it ran."""
    study = sweep()
    command = study.start()
    job_id, _ = job_of(study.wait_until_training(), cluster)
    cluster.cancel(job_id)
    finish(command)
    check_complete(study, undisturbed)
    assert {kind for kind, _ in verdicts(study)} == {EndKind.WORKER_CANCELLED}
    assert (
        command.output.count(f"You cancelled job {job_id}: it is not replaced; the study goes on with at most 1 job")
        == 1
    )
    assert len(study.study.existing_workers()) == 2


def test_pending_workers_that_the_user_cancels(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed
) -> None:
    """With the last one the study ends, and says how it goes on."""
    study = sweep()
    for node in NODES:
        cluster.drain(node)
    command = study.start()
    first, second = wait_for(lambda: len(cluster.jobs()) == 2 and list(cluster.jobs()), "two jobs", 60)
    wait_for(lambda: "wait: nodes that could be used are down, drained or reserved" in command.output, "word of it", 20)
    cluster.cancel(first)
    wait_for(lambda: f"You cancelled job {first}: it is not replaced" in command.output, "word of that", 20)
    cluster.cancel(second)
    assert command.wait(60) == 130, command.output
    assert f"You cancelled job {second}: no job of the study is left." in command.output
    assert (
        "Stopped; nothing is lost. To carry on: python " in command.output and str(study.options[1]) in command.output
    )
    assert len(study.study.existing_workers()) == 2 and not cluster.jobs()
    for node in NODES:
        cluster.resume(node)
    finish(study.start())
    check_complete(study, undisturbed)


@pytest.mark.slurm_slow
def test_jobs_of_their_own_that_the_user_cancels(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed
) -> None:
    """The run was meant: it waits for the next start. The study goes on with one job fewer."""
    study = sweep(mode="jobs")
    command = study.start()
    attempt = study.wait_until_training()
    job_id, _ = job_of(attempt, cluster)
    cluster.cancel(job_id)
    assert command.wait(240) == 3, command.output
    assert {kind for kind, _ in verdicts(study)} == {EndKind.CANCELLED}
    assert f"You cancelled job {job_id}: it is not replaced" in command.output
    assert re.search(r"1 run failed\. To try again: python .* --site ", command.output)
    finish(study.start())
    check_complete(study, undisturbed)


@pytest.mark.slurm_slow
@pytest.mark.parametrize(
    ("state", "said", "done"),
    [
        (
            "drain",
            "SLURM refused a job (the partition takes no jobs at present)",
            "SLURM takes these jobs again (it took",
        ),
        (
            "inactive",
            "SLURM refused a job (the partition takes no jobs at present)",
            "SLURM takes these jobs again (it took",
        ),
        ("down", "2 SLURM jobs wait: the partition takes no jobs at present (PartitionDown)", "waits any more because"),
    ],
)
def test_a_partition_that_takes_no_jobs_is_waited_for(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed, state: str, said: str, done: str
) -> None:
    study = sweep()
    cluster.run("scontrol", "update", "partitionname=gpu", f"state={state}")
    try:
        command = study.start()
        wait_for(lambda: said in command.output, "word of it", 60)
        time.sleep(15)
        assert command.is_running and command.output.count(said) == 1
    finally:
        cluster.run("scontrol", "update", "partitionname=gpu", "state=up")
    finish(command)
    check_complete(study, undisturbed)
    assert command.output.count(done) == 1 and verdicts(study) == []


@pytest.mark.slurm_slow
def test_a_request_that_no_cluster_of_this_kind_will_ever_start_is_given_up(
    cluster: SlurmCluster, sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM takes it and lets it wait: a limit that was lowered after the check."""
    study = sweep(*UNTUNED)
    cluster.run("scontrol", "update", "partitionname=gpu", "state=down")
    command = study.start()
    wait_for(lambda: "(PartitionDown)" in command.output, "jobs that wait", 60)
    cluster.run("scontrol", "update", "partitionname=gpu", "maxtime=10")
    try:
        cluster.run("scontrol", "update", "partitionname=gpu", "state=up")
        wait_for(
            lambda: "it asks for more than the partition allows (PartitionTimeLimit)" in command.output, "word", 60
        )
        assert "mend the site file. What waits is given up when that lasts for 5 min" in command.output
        assert command.wait(900) == 3, command.output
        assert "SLURM cannot start such jobs: PartitionTimeLimit" in command.output
        assert not cluster.jobs() and {kind for kind, _ in verdicts(study)} == {EndKind.LAUNCH_FAILED}
    finally:
        cluster.run("scontrol", "update", "partitionname=gpu", "maxtime=60")


def test_the_controller_restarts(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    """A silent scheduler is no evidence of death."""
    study = sweep()
    command = study.start()
    study.wait_until_training()
    cluster.stop_controller()
    time.sleep(4)
    cluster.start_controller()
    finish(command)
    check_complete(study, undisturbed)
    assert verdicts(study) == []


def test_a_node_is_drained(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    study = sweep()
    cluster.drain("node1")
    command = study.start()
    finish(command)
    check_complete(study, undisturbed)
    assert {worker["node"] for w in study.study.existing_workers() if (worker := read_json(w.started))} == {"node2"}


@pytest.mark.parametrize("num_kills", [3, pytest.param(20, marks=pytest.mark.slurm_slow)])
def test_the_orchestrator_is_killed(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed, num_kills: int
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    generator = random.Random(seed)
    study = sweep()
    for _ in range(num_kills):
        command = study.start()
        deadline = time.monotonic() + generator.uniform(1.0, 9.0)
        wait_for(lambda c=command, d=deadline: time.monotonic() > d or not c.is_running, "the next kill", 20)
        if command.is_running:
            command.kill()
            command.wait()
    finish(study.start())
    check_complete(study, undisturbed)


@pytest.mark.slurm_slow
def test_killed_between_sbatch_and_its_acknowledgement(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that nobody heard of is found by its name, and works."""
    real, done = shutil.which("sbatch"), tmp_path / "killed"
    script = tmp_path / "bin" / "sbatch"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n{real} "$@"\n[ -e {done} ] || {{ touch {done}; kill -KILL $PPID; }}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    study = sweep()
    assert study.start().wait(60) == -signal.SIGKILL
    (worker,) = study.study.existing_workers()
    assert read_json(worker.job)["job_id"] is None and len(cluster.jobs()) == 1
    finish(study.start())
    check_complete(study, undisturbed)
    assert read_json(worker.job)["job_id"] is not None and worker.started.exists()
    assert len(study.study.existing_workers()) == 2
    assert verdicts(study) == []


@pytest.mark.slurm_slow
def test_stop_and_go_on(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    study = sweep()
    command = study.start()
    attempt = study.wait_until_training()
    assert study.manage("stop").wait() == 0
    assert command.wait(60) == 130
    assert "Stopped; nothing is lost. To carry on" in command.output
    wait_for(lambda: not is_running(pid_of(attempt)), "the end of the run", 10)
    wait_for(lambda: not cluster.jobs(), "the end of all jobs", 10)
    finish(study.start())
    check_complete(study, undisturbed)


@pytest.mark.slurm_slow
def test_stop_now(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    study = sweep()
    command = study.start()
    study.wait_until_training()
    assert study.manage("stop", "--now").wait() == 0
    assert command.wait(80) == 130
    wait_for(lambda: not cluster.jobs(), "the end of all jobs", 15)
    assert "Stopped; nothing is lost. To carry on" in command.output, "nothing runs any more, and nothing else is said"
    assert {kind for kind, _ in verdicts(study)} == {EndKind.STOPPED}
    finish(study.start())
    check_complete(study, undisturbed)


@pytest.mark.parametrize("mode", ["workers", pytest.param("jobs", marks=pytest.mark.slurm_slow)])
def test_stop_now_over_jobs_that_wait(cluster: SlurmCluster, sweep: MakeSweep, mode: str) -> None:
    study = sweep(mode=mode)
    for node in NODES:
        cluster.drain(node)
    command = study.start()
    wait_for(lambda: "wait: nodes that could be used" in command.output, "jobs that wait", 60)
    assert "running: nothing; in line: 2 runs" in wait_for(
        lambda: "in line" in command.output and command.output, "their number", 30
    )
    assert study.manage("stop", "--now").wait() == 0
    assert command.wait(60) == 130
    assert "Stopped; nothing is lost. To carry on" in command.output and not cluster.jobs()
    assert study.manage("stop", "--now").output == "Nobody orchestrates tiny; nothing of it runs.\n"


@pytest.mark.slurm_slow
def test_one_job_per_run(cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed) -> None:
    study = sweep(mode="jobs")
    command = study.start()
    attempt = study.wait_until_training()
    _, node = job_of(attempt, cluster)
    cluster.preempt(node, 3)
    command.kill()
    command.wait()
    finish(study.start())
    check_complete(study, undisturbed)
    assert EndKind.PREEMPTED in {kind for kind, _ in verdicts(study)}


def test_preempted_with_the_users_signal(
    signalling_cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed
) -> None:
    study = sweep()
    command = study.start()
    _, node = job_of(study.wait_until_training(), signalling_cluster)
    signalling_cluster.preempt(node, 3)
    finish(command)
    check_complete(study, undisturbed)
    assert set(verdicts(study)) == {(EndKind.PREEMPTED, node)}
    wait_for(lambda: not signalling_cluster.jobs(), "an empty queue", 20)


@pytest.mark.slurm_slow
def test_time_limits_are_lived_with_as_long_as_there_is_progress(
    cluster: SlurmCluster, sweep: MakeSweep, tmp_path: Path, store: str
) -> None:
    """Trainings of more than a minute in jobs of one minute, which is the least that SLURM knows."""
    overrides = ("continuation.epochs=250", *UNTUNED)
    study = sweep(*overrides, time_min=1, warning_s=15)
    command = study.start()
    assert command.wait(900) == 0, command.output
    assert {kind for kind, _ in verdicts(study)} == {EndKind.OUT_OF_TIME}, command.output
    for run in study.runs():
        attempts = [attempt for attempt in replay_run(run).attempts if attempt.started is not None]
        assert [a.resumed_step for a in attempts[1:]] == [a.checkpoint_step for a in attempts[:-1]], "no step is lost"
    here = Sweep(tmp_path, tmp_path / "here", store, ("confirm.base_seeds=[1]", *overrides))
    finish(here.start())
    assert [weights_of(run) for run in study.runs()] == [weights_of(run) for run in here.runs()]


@pytest.mark.slurm_slow
def test_the_orchestrator_is_a_job_itself(
    cluster: SlurmCluster, sweep: MakeSweep, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It puts itself back into the queue when its time is nearly up, and goes on two minutes later."""
    study = sweep()
    monkeypatch.chdir(ROOT)
    for name, value in study.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STUDY_PYTHON", sys.executable)
    log = tmp_path / "orchestrator.log"
    job_id = cluster.run(
        "sbatch", "--parsable", "--time=30", f"--output={log}", "slurm/orchestrator.sbatch", *study.arguments()
    )  # fmt: skip
    study.wait_until_training()
    cluster.run("scancel", "--signal=USR1", "--batch", job_id)
    wait_for(lambda: cluster.jobs()[job_id][1] == "PENDING", "its requeueing", 20)
    wait_for(study.study.finished.exists, "its second life", 240)
    wait_for(lambda: not cluster.jobs(), "the end of all jobs", 60)
    check_complete(study, undisturbed)
    assert "The lease was left by" in log.read_text()


@pytest.mark.slurm_slow
def test_out_of_memory(cluster: SlurmCluster, sweep: MakeSweep) -> None:
    study = sweep(*UNTUNED, memory_gb=0.15)
    command = study.start()
    assert command.wait(240) == 3, command.output
    assert "memory" in command.output and "Raise `memory_gb`" in command.output
    assert {kind for kind, _ in verdicts(study)} == {EndKind.HOST_MEMORY}


@pytest.mark.slurm_slow
def test_jobs_that_cannot_start(cluster: SlurmCluster, sweep: MakeSweep) -> None:
    """The log of the job that failed is shown, and what can be tried."""
    study = sweep(setup="['echo the module system is on fire >&2; exit 3']")
    command = study.start()
    assert command.wait(240) == 3, command.output
    assert "launch failed" in command.output
    assert "the module system is on fire" in command.output
    assert f"Try the site: python -m study site check {study.options[1]}" in command.output
