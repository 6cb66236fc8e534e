"""The columns that frames must have, and one type for each: what is wrong is said once, not by a later traceback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api import types

from study.errors import StudyError, did_you_mean

PARAM_PREFIX = "param/"
SEEN_COLUMNS = (
    "base_weights", "data_stream", "label_draws", "loaded_weights", "loaded_moments", "seen_rows", "seen_views",
    "view_sketch", "seen_steps", "evaluated",
)  # fmt: skip
RUN_COLUMNS = (
    "run_id", "arm", "phase", "base_seed", "continuation_seed", "status", "num_attempts", "interruptions",
    "cpu_s", "criterion", "code", "commit", "dataset", "cpu_model", "start_t", "failure", "python", "libraries",
    "end_t", "study", "reused", *SEEN_COLUMNS, "evaluation_code", "uncommitted", "code_differs",
)  # fmt: skip
TRIAL_COLUMNS = ("arm", "number", "state", "objective", "run_ids")
HISTORY_COLUMNS = ("run_id", "step", "metric", "value")
_INTEGERS = ("base_seed", "continuation_seed", "num_attempts", "number", "step")
_FLOATS = ("cpu_s", "start_t", "end_t", "objective", "value")
_NEEDED = ("run_id", "arm", "phase", "base_seed", "continuation_seed", "status")


class ColumnsError(StudyError):
    """A frame lacks columns, or one holds something else than it should."""


def require(frame: pd.DataFrame, columns: Iterable[str] = _NEEDED, what: str = "runs") -> None:
    """Check that `frame` has `columns`.

    Raises:
        ColumnsError: it lacks some; names all of them, and what there is.
    """
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        hint = did_you_mean(lacking[0], map(str, frame.columns))
        raise ColumnsError(f"the frame of {what} has no column {', '.join(map(repr, lacking))}.{hint}")


def require_numbers(frame: pd.DataFrame, column: str) -> None:
    """Check that `column`, if it is there, holds numbers.

    Raises:
        ColumnsError: it holds something else; shows the first such value and its run.
    """
    if column not in frame.columns or types.is_numeric_dtype(frame[column].dtype):
        return
    wrong = frame[pd.to_numeric(frame[column], errors="coerce").isna() & frame[column].notna()]
    if len(wrong):
        run = f" of run {wrong['run_id'].iloc[0]}" if "run_id" in wrong.columns else ""
        raise ColumnsError(f"column {column!r} must hold numbers, but{run} it is {wrong[column].iloc[0]!r}")


def tidy(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Build a frame that starts with `columns`, then parameters, then metrics, each in alphabetical order.

    Types depend on the values alone, not on where they come from: integers, floats, and text. Parameters are numbers
    when all that are there are, and text otherwise; metrics are floats. Rows are let go one by one.
    """
    found: dict[str, list[Any]] = {name: [] for name in columns}
    num_rows = 0
    for row in rows:
        for name, value in row.items():
            values = found.setdefault(name, [])
            values.extend([None] * (num_rows - len(values)))  # rows before this one lack it
            values.append(value)
        num_rows += 1
    for values in found.values():
        values.extend([None] * (num_rows - len(values)))
    extra = sorted(found.keys() - set(columns), key=lambda name: (not name.startswith(PARAM_PREFIX), name))
    return pd.DataFrame({name: _typed(name, found.pop(name), columns) for name in [*columns, *extra]})


def _typed(name: str, values: list[Any], columns: Sequence[str]) -> pd.Series[Any]:
    if name in _INTEGERS:
        return pd.Series(values, dtype="int64")
    if name in _FLOATS or not (name in columns or name.startswith(PARAM_PREFIX)):
        return pd.Series(values, dtype="float64")
    if name in columns:
        return pd.Series(values, dtype=object if name == "run_ids" else "str")
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        is_whole = kinds == {int} and None not in values
        return pd.Series(values, dtype="int64" if is_whole else "float64")
    return pd.Series([_text(value) for value in values], dtype="str")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)
