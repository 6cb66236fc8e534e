"""Where runs are tracked; imports nothing heavy, so that anything may ask."""

from __future__ import annotations

import os

from study.paths import HomePaths


def store_uri(home: HomePaths) -> str:
    """`$MLFLOW_TRACKING_URI`, or else the SQLite file of the home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_db.absolute()}"
