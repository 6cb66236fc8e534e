"""A real cluster for all these tests, healed after each, and the tiny study undisturbed for comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.command import Command, Sweep
from tests.fakes.slurm_cluster import SlurmCluster, ensure_installed
from tests.fakes.tiny_study import wait_for

SITE = {
    "executor": "slurm", "slots": 2, "partition": "gpu", "cpus": 1, "memory_gb": 2, "time_min": 20, "warning_s": 30,
    "poll_s": 1, "checkpoint_every_s": 0.3,
}  # fmt: skip
STUDY = ("continuation.epochs=6", "confirm.base_seeds=[1]")  # about three seconds of training per run


@contextmanager
def running(cluster: SlurmCluster, **options: bool) -> Iterator[SlurmCluster]:
    """The cluster, chosen by the environment for as long as it runs."""
    before = os.environ.get("SLURM_CONF")
    os.environ.update(cluster.environment)
    try:
        cluster.start(**options)
        yield cluster
    finally:
        cluster.stop()
        del os.environ["SLURM_CONF"]
        if before is not None:
            os.environ["SLURM_CONF"] = before


@pytest.fixture(scope="session")
def whole_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    ensure_installed()
    with running(SlurmCluster(tmp_path_factory.mktemp("slurm"))) as cluster:
        yield cluster


@pytest.fixture
def signalling_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Another one, which sends the user's warning signal to what it preempts."""
    ensure_installed()
    with running(SlurmCluster(tmp_path_factory.mktemp("slurm")), preempt_user_signal=True) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster; a test fails that leaves jobs of ours behind."""
    yield whole_cluster

    def ours() -> list[str]:
        return [name for name, _, _ in whole_cluster.jobs().values() if name.startswith("study-")]

    try:
        wait_for(lambda: not ours(), "the end of our jobs", 10)
    finally:
        whole_cluster.heal()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def sweep(tmp_path: Path, store: str) -> Iterator[Callable[..., Sweep]]:
    """Makes sweeps that go to the cluster."""
    made: list[Sweep] = []

    def make(*overrides: str, **site: object) -> Sweep:
        file = tmp_path / "site.yaml"
        file.write_text("\n".join(f"{key}: {value}" for key, value in {**SITE, **site}.items()))
        made.append(Sweep(tmp_path, tmp_path / "home", store, (*STUDY, *overrides), options=("--site", str(file))))
        return made[-1]

    yield make
    for one in made:
        one.clean_up()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[tuple[Sweep, Command]]:
    """The same study on this machine, from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = Sweep(folder, folder / "home", store, STUDY)
    command = sweep.start()
    assert command.wait() == 0, command.output
    yield sweep, command
    sweep.clean_up()
