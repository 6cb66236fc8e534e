"""What a study took: budget, failures and environments, as DataFrames of strings for `analysis.render`."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from analysis.contrasts import drift, missing_runs
from analysis.frames import RunStatus
from study.plan.model import Phase, Plan

_STATES = (RunStatus.DIVERGED, RunStatus.FAILED, RunStatus.INCOMPLETE)
_HASH_DIGITS, _MESSAGE_CHARACTERS = 12, 200
_LONG_HASH = rf"(\w{{{_HASH_DIGITS}}})\w+"  # of which a run has several when its data changed between its attempts


def budget_table(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return what each arm cost and how its runs ended; trials are counted as ended / planned."""
    rows = []
    any_reused = (runs["reused"] != "").any()
    for arm in plan.arms:
        own, searched = runs[runs["arm"] == arm.name], trials[trials["arm"] == arm.name]
        ended = int((searched["state"] != "running").sum())
        states = [*_STATES, *([RunStatus.PRUNED] if plan.tune.pruning != "none" else [])]
        counts = {state.value: str((own["status"] == state).sum()) for state in states}
        cpu = {phase: own.loc[own["phase"] == phase, "cpu_s"].sum() for phase in (Phase.TUNE, Phase.CONFIRM)}
        rows.append(
            {
                "arm": arm.name,
                "trials": f"{ended}/{plan.tune.trials_per_arm}" if arm.is_tuned else "–",
                "runs": str(len(own)),
                **({"reused": str((own["reused"] != "").sum())} if any_reused else {}),
                **counts,
                "attempts": str(own["num_attempts"].sum()),
                "interrupted": _counted(own["interruptions"]),
                "tune CPU s": f"{cpu[Phase.TUNE]:.0f}",
                "confirm CPU s": f"{cpu[Phase.CONFIRM]:.0f}",
            }
        )
    return pd.DataFrame(rows)


def failures_table(everything: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the runs that did not simply succeed: not completed, interrupted, unreadable, or not there yet.

    Args:
        everything: all runs, with the column `unused`.
        plan: the study.
    """
    unreadable = everything["unused"].str.startswith("cannot be read")
    is_notable = (everything["unused"] == "") & (
        (everything["status"] != RunStatus.COMPLETED) | (everything["interruptions"] != "")
    )
    rows = [
        {
            "run": run["run_id"],
            "phase": run["phase"] or "–",
            "status": "unreadable" if run["unused"] else run["status"],
            "attempts": str(run["num_attempts"]),
            "interrupted": run["interruptions"] or "–",
            "reason": _short(run["unused"].removeprefix("cannot be read: ") or run["failure"]) or "–",
        }
        for run in everything[unreadable | is_notable].to_dict(orient="records")
    ]
    there = {name.rpartition("-")[0] for name in everything.loc[unreadable, "run_id"]}  # `<arm>-b1-c1`
    for arm, seeds in missing_runs(everything[everything["unused"] == ""], plan).items():
        absent = {"phase": str(Phase.CONFIRM), "status": "not there yet", "attempts": "0"}
        rows += [
            {"run": f"{arm}-{s}", **absent, "interrupted": "–", "reason": "–"}
            for s in seeds
            if f"{arm}-{s}" not in there
        ]
    return pd.DataFrame(rows, columns=["run", "phase", "status", "attempts", "interrupted", "reason"])


def environment_table(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return what each arm's confirm runs were made with: code, data, processors, versions; and what differs."""
    confirm, drifted = runs[runs["phase"] == Phase.CONFIRM], drift(runs, plan)
    rows = []
    for arm in plan.arms:
        own = confirm[confirm["arm"] == arm.name]
        rows.append(
            {
                "arm": arm.name,
                "code": _values(own["code"].str[:_HASH_DIGITS]),
                "commit": _values(own["commit"].str[:_HASH_DIGITS]),
                "data": _values(own["dataset"].str.replace(_LONG_HASH, r"\1", regex=True)),
                "Python": _values(own["python"]),
                "libraries": _values(own["libraries"]),
                "CPU": _values(own["cpu_model"]),
                "differs": drifted[arm.name] or "–",
            }
        )
    return pd.DataFrame(rows)


def _values(column: pd.Series) -> str:
    """The values of a column, the most frequent first; how often each, where there are several."""
    counts = column[column != ""].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) < 2:
        return str(counts.index[0]) if len(counts) else "–"
    return "; ".join(f"{count} × {value}" for value, count in counts.items())


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"


def _counted(interruptions: pd.Series) -> str:
    """How often which class of endings interrupted an arm's runs."""
    counts = Counter(kind for text in interruptions for kind in text.split("; ") if kind)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "–"
