"""Trials whose runs were made anew, and are worth something else than what the search chose by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.records import RunStatus
from study.plan.model import Plan

_ROUNDING_PP = 1e-6


def outdated_trials(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> Iterator[str]:
    """Say of every arm in which trials the record and the runs disagree, and what to type.

    Args:
        runs: see `analysis.frames.runs_frame`, all of them.
        trials: see `analysis.frames.trials_frame`.
        plan: says what the searches maximise.
    """
    column = f"validation/{plan.tune.objective}"
    if column not in runs or trials.empty:
        return
    values = runs.loc[runs["status"] == RunStatus.COMPLETED].set_index("run_id")[column]
    judged = trials.loc[(trials["state"] == "complete") & trials["objective"].notna(), ["arm", "number", "objective"]]
    each = judged.join(trials["run_ids"].explode()).rename(columns={"run_ids": "run_id"})
    each["value"] = each["run_id"].map(values).astype(float)
    found = each.groupby(["arm", "number"], sort=False, as_index=False).agg(
        then=("objective", "first"), now=("value", "mean"), is_known=("value", lambda own: own.notna().all())
    )
    differ = found[
        found["is_known"] & ~np.isclose(found["now"], found["then"].astype(float), rtol=0, atol=_ROUNDING_PP)
    ]
    for arm, own in differ.groupby("arm", sort=False):
        said = [
            f"trial {trial['number']} had {trial['then']:.2f}, and its runs give {trial['now']:.2f}"
            for _, trial in own.iterrows()
        ]
        yield (
            f"The search of {arm} chose by other values of {plan.tune.objective} than its runs have now: "
            f"{'; '.join(said)}. To search anew: python -m study redo {plan.study} {arm}"
        )
