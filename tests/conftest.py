"""For all tests: one thread, and what takes long to make and can be copied.

With as many threads as there are cores, small tensor operations spend their time on waiting.
"""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """With `--dist loadgroup` a folder's tests share a process: its cluster and its finished study are made once."""
    item.add_marker(pytest.mark.xdist_group(item.path.parent.name))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables; copy it."""
    from study.tracking.mlflow_tracker import MlflowTracker

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowTracker(f"sqlite:///{file}", file.parent)
    return file
