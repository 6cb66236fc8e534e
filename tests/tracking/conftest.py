"""MLflow stores for tests: the tables are made once and copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from study.paths import HomePaths
from tests.fakes.published_study import home_in


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    """An empty home."""
    home = home_in(tmp_path)
    home.root.mkdir()
    return home


@pytest.fixture
def stored_home(home: HomePaths, empty_store: Path) -> HomePaths:
    """A home with an embedded store without runs."""
    shutil.copyfile(empty_store, home.mlflow_db)
    return home
