"""The audit of pairing: runs of different arms with equal seeds started from the same weights and saw the same data."""

from __future__ import annotations

import pandas as pd

from analysis.records import RunStatus
from study.plan.model import Phase, Plan

HASHES = {"base_weights": "base weights", "data_stream": "images and augmentation", "label_draws": "label draws"}


def unpaired_arms(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Say of every arm that is not paired with most others what differs, e.g. `base weights`.

    Args:
        runs: see `analysis.frames.runs_frame`. Only completed confirm runs are compared, and hashes that are there: an
            arm that is not continued has no data stream, and old runs have no hashes at all.
        plan: says whether label draws are new for every base or for every continuation.
    """
    completed = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    found: dict[str, list[str]] = {}
    for column, words in HASHES.items():
        if column not in completed:
            continue
        known = completed[completed[column] != ""]
        is_of_base = column == "base_weights" or (column == "label_draws" and plan.unit == "base")
        seeds = ["base_seed"] if is_of_base else ["base_seed", "continuation_seed"]
        differ = known.groupby(seeds)[column].transform("nunique") > 1  # else thousands of groups would be looked at
        for _, group in known[differ].groupby(seeds):
            usual = group[column].mode().iloc[0]
            for arm in group.loc[group[column] != usual, "arm"].unique():
                if words not in found.setdefault(str(arm), []):
                    found[str(arm)].append(words)
    return {arm: ", ".join(words) for arm, words in found.items()}


def pairing_sentence(runs: pd.DataFrame, plan: Plan) -> str:
    """Say what the audit of a study's pairs has shown."""
    completed = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    if not all(column in completed for column in HASHES) or (completed["base_weights"] == "").all():
        return ""
    unpaired = unpaired_arms(runs, plan)
    if unpaired:
        return f"Not paired: {'; '.join(f'{what} of {arm}' for arm, what in unpaired.items())} differ from other arms'."
    return (
        f"Pairing audited by the hashes in the journals: within each {plan.unit} seed all arms started from the same "
        "weights and saw the same images, augmentation and label draws."
    )
