"""An arm that did not start from the same weights, or did not see the same data, is found; and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from analysis.pairing import ROUNDING, unpaired_arms
from analysis.pairing_words import pairing_sentences
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan("confirm.base_seeds=[1, 2]")
BY_CONTINUATION = replace(PLAN, unit="continuation")
ARMS = ("base", "continued", "uniformity")
OLD = dict.fromkeys(("loaded_weights", "loaded_moments", "seen_rows", "seen_views", "view_sketch", "seen_steps"), "")


def row(arm: str, base: int = 1, continuation: int = 1, **changes: str) -> dict[str, Any]:
    """A paired confirm run; the arm that is not continued has seen no images."""
    is_continued, both = arm != "base", f"{base}-{continuation}"
    seen = {
        "data_stream": f"s{both}", "seen_rows": f"r{both}", "seen_views": f"v{both}", "view_sketch": "0.5 -1.0",
        "seen_steps": "1-20/4",
    }  # fmt: skip
    return {
        "run_id": f"{arm}-b{base}-c{continuation}", "arm": arm, "phase": "confirm", "status": "completed",
        "base_seed": base, "continuation_seed": continuation if is_continued else 0, "base_weights": f"w{base}",
        "loaded_weights": f"w{base}", "loaded_moments": "", "label_draws": f"l{base}",
        "evaluated": f"knn-test-1=l{base}/i probe-test-2=m{base}/i",
        **(seen if is_continued else dict.fromkeys(seen, "")), **changes,
    }  # fmt: skip


def frame(*more: dict[str, Any]) -> pd.DataFrame:
    """Paired runs of all arms and bases; further rows take the place of those with the same name."""
    rows = {r["run_id"]: r for r in [*(row(arm, base) for arm in ARMS for base in (1, 2)), *more]}
    return pd.DataFrame(list(rows.values()))


def said(runs: pd.DataFrame, plan: Any = PLAN) -> str:
    return " ".join(pairing_sentences(runs, plan))


def test_what_was_compared_is_said_with_numbers() -> None:
    assert unpaired_arms(frame(), PLAN) == {}
    assert said(frame()) == (
        "Pairing audited by hashes of what runs saw, within each of 2 base seeds: arms have equal weights before the "
        "first step (6 runs), images in all 20 steps (4 runs), views in 4 of them, the first and the last of every "
        "epoch (4 runs), label draws (6 runs) and evaluated images (6 runs). "
        "Without images and views, because not continued: 2 runs of base."
    )


DIFFERENCES = {
    "loaded_weights": "weights, weights (not those of the base's file)",
    "loaded_moments": "moments of the optimiser",
    "seen_rows": "images",
    "seen_views": "views",
}


@pytest.mark.parametrize(("column", "words"), DIFFERENCES.items())
def test_one_arm_that_differs_is_named(column: str, words: str) -> None:
    moments = {"loaded_moments": "m"}
    everybody = [row(arm, base, **moments) for arm in (*ARMS[1:], "mmcr") for base in (1, 2)]
    runs = frame(*everybody, row("mmcr", 2, **{**moments, column: "another", "view_sketch": "0.5 -0.9"}))
    assert unpaired_arms(runs, PLAN) == {"mmcr": words}
    seeds = "b2" if "weights" in words or "moments" in words else "b2-c1"
    assert f"Not paired: {words.partition(',')[0]} of mmcr ({seeds})" in said(runs)
    assert "audited" not in said(runs) and "Compared by hashes of what runs saw, within each of 2 base seeds" in said(
        runs
    )


@pytest.mark.parametrize(
    ("evaluated", "words"),
    [("knn-test-1=l2/i probe-test-2=x/i", "label draws"), ("knn-test-1=l2/x probe-test-2=m2/i", "evaluated images")],
)
def test_one_evaluation_that_looked_at_something_else(evaluated: str, words: str) -> None:
    runs = frame(row("uniformity", 2, evaluated=evaluated))
    assert unpaired_arms(runs, PLAN) == {"uniformity": words}
    assert f"Not paired: {words} of uniformity (b2) differ from what other arms with equal seeds have." in said(runs)


def test_an_evaluation_that_one_arm_lacks_is_no_difference() -> None:
    """Added later, it is there for some arms first."""
    assert unpaired_arms(frame(row("continued", 2, evaluated="knn-test-1=l2/i")), PLAN) == {}


def test_of_two_arms_the_one_without_the_weights_of_the_base_is_named() -> None:
    runs = frame()[lambda f: f["arm"] != "base"]
    for arm in ("continued", "uniformity"):
        wrong = runs.assign(loaded_weights=runs["loaded_weights"].where(runs["arm"] != arm, "another"))
        assert set(unpaired_arms(wrong, PLAN)) == {arm}


def test_of_two_arms_with_other_views_it_is_not_the_reference_that_is_named() -> None:
    runs = frame(row("continued", 2, seen_views="a", view_sketch="9 9"))
    assert unpaired_arms(runs, PLAN) == {"uniformity": "views"}


class TestRounding:
    def near(self, by: float) -> pd.DataFrame:
        return frame(row("uniformity", 2, seen_views="another", view_sketch=f"0.5 {-1.0 + by}"))

    def test_views_that_differ_by_rounding_are_paired_and_it_is_said(self) -> None:
        runs = self.near(ROUNDING / 2)
        assert unpaired_arms(runs, PLAN) == {}
        assert "the last of every epoch (4 runs, 1 of them up to rounding)" in said(runs)
        assert unpaired_arms(self.near(ROUNDING * 2), PLAN) == {"uniformity": "views"}

    def test_without_a_sketch_nothing_is_taken_for_rounding(self) -> None:
        runs = frame(row("uniformity", 2, seen_views="another", view_sketch=""))
        assert unpaired_arms(runs, PLAN) == {"uniformity": "views"}

    def test_only_views_are_rounded(self) -> None:
        assert unpaired_arms(frame(row("uniformity", 2, seen_rows="another")), PLAN) == {"uniformity": "images"}


class TestWhatCannotBeCompared:
    def old(self, arm: str, base: int, **changes: str) -> dict[str, Any]:
        """A run of earlier code."""
        return row(arm, base, **{**OLD, "evaluated": f"knn-test-1=l{base}/ probe-test-2=m{base}/", **changes})

    def test_runs_of_earlier_code_are_not_audited(self) -> None:
        runs = frame(*(self.old(arm, base) for arm in ARMS for base in (1, 2)))
        assert unpaired_arms(runs, PLAN) == {}
        assert said(runs) == (
            "Pairing not audited. All 6 completed confirm runs were trained by earlier code, which kept only hashes of "
            "seeds and of the base's file; these are equal within each of 2 base seeds, which does not show what was "
            "seen."
        )

    def test_that_they_were_given_something_else_is_found(self) -> None:
        for column, words in (("data_stream", "seeds of images and views"), ("base_weights", "file of the base")):
            runs = frame(*(self.old(arm, base) for arm in ARMS for base in (1, 2)))
            runs.loc[runs["run_id"] == "uniformity-b2-c1", column] = "another"
            assert unpaired_arms(runs, PLAN) == {"uniformity": words}
            assert said(runs).startswith(f"Not paired: {words} of uniformity (b2")
        drawn = frame(*(self.old(a, b) for a in ARMS for b in (1, 2)), self.old("base", 1, evaluated="knn-test-1=x/"))
        assert unpaired_arms(drawn, PLAN) == {"base": "label draws"}

    def test_some_runs_of_earlier_code_are_counted(self) -> None:
        runs = frame(self.old("uniformity", 2))
        assert unpaired_arms(runs, PLAN) == {}
        text = said(runs)
        assert text.startswith("Pairing audited") and "weights before the first step (5 runs)" in text
        assert "images in all 20 steps (2 runs)" in text, "base 2 has one arm left"
        assert "1 of 6 completed confirm runs were trained by earlier code" in text
        assert "what they saw was not compared" in text

    def test_seeds_at_which_all_runs_are_of_earlier_code_do_not_count(self) -> None:
        """As where seeds were added to a study."""
        text = said(frame(*(self.old(arm, 2) for arm in ARMS)))
        assert "within 1 of 2 base seeds: arms have equal weights before the first step (3 runs)" in text
        assert "3 of 6 completed confirm runs were trained by earlier code" in text
        assert "1 run of base" in text and "only one arm" not in text

    def test_frames_without_the_columns_are_of_earlier_code(self) -> None:
        runs = frame(*(self.old(arm, base) for arm in ARMS for base in (1, 2))).drop(columns=[*OLD, "evaluated"])
        assert unpaired_arms(runs, PLAN) == {}
        assert said(runs).startswith("Pairing not audited. All 6 ")
        runs.loc[0, "label_draws"] = "another"
        assert unpaired_arms(runs, PLAN) == {"base": "label draws"}

    def test_runs_without_any_hash(self) -> None:
        nothing = {**OLD, "base_weights": "", "data_stream": "", "label_draws": "", "evaluated": ""}
        runs = frame(*(row(arm, base, **nothing) for arm in ARMS for base in (1, 2)))
        assert unpaired_arms(runs, PLAN) == {}
        assert said(runs) == "Pairing not audited: the completed confirm runs kept no hashes that could be compared."

    def test_a_run_that_resumed_from_a_checkpoint_of_earlier_code(self) -> None:
        late = {"loaded_weights": "", "seen_rows": "late", "seen_views": "later", "seen_steps": "9-20/3"}
        runs = frame(row("uniformity", 2, **late))
        assert unpaired_arms(runs, PLAN) == {}, "its hashes are of other steps"
        text = said(runs)
        assert "weights before the first step (5 runs)" in text and "images in all 20 steps (2 runs)" in text
        assert "1 of 6 completed confirm runs were resumed from a checkpoint of earlier code" in text
        assert "from step 9 on" in text and "trained by earlier code" not in text

    def test_nothing_is_audited_where_there_is_nothing_to_compare(self) -> None:
        nothing = "Pairing not audited: no two arms have completed confirm runs with equal base seeds."
        for runs in (frame()[lambda f: f["arm"] == "continued"], frame()[:1], frame().iloc[[0, 3]]):
            assert said(runs) == nothing and unpaired_arms(runs, PLAN) == {}
        assert said(frame().assign(status="failed")) == "" == said(frame()[:0])

    def test_a_base_at_which_only_one_arm_has_runs_is_named(self) -> None:
        runs = frame()[lambda f: (f["base_seed"] == 1) | (f["arm"] == "continued")]
        assert "within 1 of 2 base seeds: arms have equal" in said(runs)
        assert "Not compared, because only one arm has completed runs there: base seed 2." in said(runs)


def test_label_draws_may_differ_between_continuations_when_these_are_the_unit() -> None:
    cells = [
        row(arm, 1, c, continuation_seed=c, evaluated=f"knn-test-1=l{c}/i{c}")
        for arm in ARMS
        for c in (1, 2)  # type: ignore[arg-type]
    ]
    runs = pd.DataFrame(cells)
    assert unpaired_arms(runs, BY_CONTINUATION) == {}
    assert "within each of 2 base and continuation seeds" in said(runs, BY_CONTINUATION)
    assert "label draws" in " ".join(unpaired_arms(runs, PLAN).values())
