"""Real worker processes, forked from one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from study.execution.local import LocalExecutor
from study.paths import HomePaths


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(slots=2)
    yield executor
    executor.close()


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    return HomePaths(tmp_path / "home")
