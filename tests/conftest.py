"""For all tests: one thread, and what takes long to make and can be copied.

With as many threads as there are cores, small tensor operations spend their time on waiting.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.fakes.clock import Clock

if TYPE_CHECKING:
    from tests.fakes.mlflow_server import Server

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables; copy it."""
    from study.tracking.mlflow_tracker import MlflowTracker

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowTracker(f"sqlite:///{file}", file.parent)
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    """A real MLflow server with a store of its own."""
    from tests.fakes.mlflow_server import Server

    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def clock() -> Clock:
    """A clock that goes only when the test says so."""
    return Clock()
