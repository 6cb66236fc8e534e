"""An arm that did not start from the same weights, or did not see the same data, is found out."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from analysis.pairing import unpaired_arms
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan("confirm.base_seeds=[1, 2]")
ARMS = ("base", "continued", "uniformity")


def frame() -> pd.DataFrame:
    """Paired confirm runs of all arms; the arm that is not continued has no data stream."""
    rows = [
        {
            "run_id": f"{arm}-b{base}", "arm": arm, "phase": "confirm", "status": "completed", "base_seed": base,
            "continuation_seed": 0 if arm == "base" else 1, "base_weights": f"w{base}",
            "data_stream": "" if arm == "base" else f"s{base}", "label_draws": f"l{base}",
        }
        for arm in ARMS
        for base in (1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_paired_arms_pass() -> None:
    assert unpaired_arms(frame(), PLAN) == {}


@pytest.mark.parametrize(
    ("column", "words"),
    [("base_weights", "base weights"), ("data_stream", "images and augmentation"), ("label_draws", "label draws")],
)
def test_one_arm_that_differs_is_named(column: str, words: str) -> None:
    runs = pd.concat([frame(), frame().assign(arm="mmcr")[lambda f: f["run_id"].str.startswith("uniformity")]])
    runs.loc[(runs["arm"] == "mmcr") & (runs["base_seed"] == 2), column] = "another"
    assert unpaired_arms(runs, PLAN) == {"mmcr": words}


def test_label_draws_may_differ_between_continuations_when_these_are_the_unit() -> None:
    runs = frame()[lambda f: f["base_seed"] == 1]
    more = runs.assign(
        continuation_seed=2, label_draws="new", data_stream=runs["data_stream"].where(runs["arm"] == "base", "new")
    )
    both = pd.concat([runs.assign(continuation_seed=1), more])
    assert unpaired_arms(both, replace(PLAN, unit="continuation")) == {}
    assert "label draws" in " ".join(
        unpaired_arms(both.assign(label_draws=["a", "a", "b", "a", "a", "a"]), PLAN).values()
    )


def test_runs_without_hashes_are_not_judged() -> None:
    assert unpaired_arms(frame().assign(base_weights="", data_stream="", label_draws=""), PLAN) == {}
