"""Where runs are tracked; imports nothing heavy, so that anything may ask."""

from __future__ import annotations

import os
import re

from study.paths import HomePaths


def store_uri(home: HomePaths) -> str:
    """`$MLFLOW_TRACKING_URI`, or else the SQLite file of the home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_db.absolute()}"


def without_password(text: str) -> str:
    """`text` without what stands before the host in its URIs: logs and messages are no place for passwords."""
    return re.sub(r"//[^/@\s]*@", "//", text)
