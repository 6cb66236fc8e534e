"""The real command in processes of its own, and one finished study that tests may look at and copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.command import Command, Sweep


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow store for all: making its tables takes longer than a tiny study."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def sweep(tmp_path: Path, store: str) -> Iterator[Callable[..., Sweep]]:
    """Makes sweeps, in this test's folder unless told otherwise; what still runs at the end is killed."""
    made: list[Sweep] = []

    def make(*overrides: str, home: Path | None = None) -> Sweep:
        made.append(Sweep(tmp_path, home or tmp_path / "home", store, overrides))
        return made[-1]

    yield make
    for one in made:
        one.clean_up()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[tuple[Sweep, Command]]:
    """A study that ran to its end without interruption, and the command that did it."""
    folder = tmp_path_factory.mktemp("finished")
    sweep = Sweep(folder, folder / "home", store)
    command = sweep.start()
    assert command.wait() == 0, command.output
    yield sweep, command
    sweep.clean_up()
