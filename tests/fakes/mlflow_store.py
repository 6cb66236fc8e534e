"""What an SQLite store of MLflow holds, read without MLflow."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from study.paths import HomePaths


def query(home: HomePaths, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    connection = sqlite3.connect(home.mlflow_db)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def contents(home: HomePaths) -> dict[str, Counter[tuple[Any, ...]]]:
    """Everything that was published, with names instead of random ids."""
    names = dict(query(home, "select run_uuid, name from runs where lifecycle_stage = 'active'"))
    assert len(set(names.values())) == len(names), "a run exists twice"
    queries = {
        "runs": "select run_uuid, status, start_time from runs where lifecycle_stage = 'active'",
        "metrics": "select run_uuid, key, value, timestamp, step, is_nan from metrics",
        "params": "select run_uuid, key, value from params",
        "tags": "select run_uuid, key, value from tags",
    }
    return {
        table: Counter(tuple(names.get(v, v) for v in row) for row in query(home, sql) if row[0] in names)
        for table, sql in queries.items()
    }
