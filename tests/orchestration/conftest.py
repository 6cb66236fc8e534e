from __future__ import annotations

from pathlib import Path

import pytest

from study.paths import HomePaths


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    home = HomePaths(tmp_path / "home")
    home.root.mkdir()
    return home
