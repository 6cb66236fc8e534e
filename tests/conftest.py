"""For all tests: one thread, and what takes long to make and can be copied.

With as many threads as there are cores, small tensor operations spend their time on waiting.
"""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables; copy it."""
    from study.tracking.mlflow_tracker import MlflowTracker

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowTracker(f"sqlite:///{file}", file.parent)
    return file
