"""What a study took: budget, failures and environments, as DataFrames of strings for `analysis.render`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from analysis.contrasts import drift, missing_runs
from analysis.frames import RunStatus
from study.plan.model import Phase, Plan

_STATES = (RunStatus.DIVERGED, RunStatus.FAILED, RunStatus.INCOMPLETE)
_HASH_DIGITS, _MESSAGE_CHARACTERS = 12, 200


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


def failures_table(everything: pd.DataFrame, plan: Plan, lost: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the runs that did not simply succeed: not completed, interrupted, unreadable, or not there yet.

    Args:
        everything: all runs, with the column `unused`.
        plan: the study.
        lost: arm → why it has no result; see `study.plan.fruitless.without_result`.
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
        why = (lost or {}).get(arm)
        status = "not there yet" if why is None else "not run"
        absent = {"phase": str(Phase.CONFIRM), "status": status, "attempts": "0"}
        rows += [
            {"run": f"{arm}-{s}", **absent, "interrupted": "–", "reason": why or "–"}
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
                "code": _values(own["code"].map(_short_hash)),
                "commit": _values(own["commit"].map(_short_hash)),
                "not in the commit": _values(own["uncommitted"]) if "uncommitted" in own else "–",
                "data": _values(own["dataset"].map(_short_hashes)),
                "Python": _values(own["python"]),
                "libraries": _values(own["libraries"]),
                "CPU": _values(own["cpu_model"]),
                "differs": ": ".join(filter(None, [drifted[arm.name], _code_differences(own)])) or "–",
            }
        )
    return pd.DataFrame(rows)


def _code_differences(own: pd.DataFrame) -> str:
    """In which files and libraries completed runs of an arm differ from most others."""
    done = own[own["status"] == RunStatus.COMPLETED]
    return "; ".join(sorted(set(done["code_differs"]) - {""})) if "code_differs" in done else ""


def _values(column: pd.Series) -> str:
    """The values of a column, the most frequent first; how often each, where there are several."""
    counts = column[column != ""].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) < 2:
        return str(counts.index[0]) if len(counts) else "–"
    return "; ".join(f"{count} × {value}" for value, count in counts.items())


def _short_hash(text: str) -> str:
    """The first digits; the dots keep readers of CSV from taking `012345678901` and `123e45678901` for numbers."""
    return text if len(text) <= _HASH_DIGITS else f"{text[:_HASH_DIGITS]}…"


def _short_hashes(text: str) -> str:
    """Of each of several; a run has several of its data where these changed between its attempts."""
    return " ".join(map(_short_hash, text.split()))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"


def _counted(interruptions: pd.Series) -> str:
    """How often which class of endings interrupted an arm's runs."""
    counts = Counter(kind for text in interruptions for kind in text.split("; ") if kind)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "–"
