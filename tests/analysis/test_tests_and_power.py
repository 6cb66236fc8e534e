"""The sign-flip test, power and the declared family, each against scipy, statsmodels or a count by hand."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from analysis.contrasts import contrasts_frame, declared_contrasts
from analysis.findings import findings
from analysis.power import detectable_difference, power, units_needed
from analysis.sign_flip import MOST_UNITS, floor, sign_flip_p
from analysis.statistics import PairedTest, holm, is_not_notable, paired_result
from study.plan.model import Confirm
from tests.benchmarks import coverage
from tests.fakes.study_home import make_plan

METRIC = "test/linear_probe/top1_mean"


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11])
def test_sign_flip_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for values in (rng.normal(0.5, 1, n), rng.exponential(1, n) - 0.7):
        expected = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", vectorized=True, n_resamples=2**n
        )
        assert sign_flip_p(values) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3], [0.3, -0.1, -0.2], [0.5, 0.0, 0.5, -0.5], [0.7, 0.1, 0.2, 0.4]])
def test_sign_flip_counts_ties_that_rounding_breaks(values: list[float]) -> None:
    whole = [round(10 * value) for value in values]
    sums = [
        sum(s * w for s, w in zip(signs, whole, strict=True)) for signs in itertools.product((-1, 1), repeat=len(whole))
    ]
    assert sign_flip_p(np.array(values)) == np.mean([abs(s) >= abs(sum(whole)) for s in sums])


def test_sign_flip_has_a_floor_and_a_limit() -> None:
    for n in (1, 2, 5, 6, 20, MOST_UNITS):
        assert sign_flip_p(np.linspace(1, 2, n)) == floor(n) == 2 / 2**n
    assert floor(5) > 0.05 > floor(6)
    assert sign_flip_p(np.zeros(4)) == 1.0
    assert math.isnan(sign_flip_p(np.ones(MOST_UNITS + 1))) and math.isnan(sign_flip_p(np.ones(0)))


@pytest.mark.parametrize("n", [3, 5, 8, 10, 30])
def test_power_agrees_with_statsmodels(n: int) -> None:
    for effect in (0.2, 0.5, 1.0):
        assert power(1.3 * effect, 1.3, n) == pytest.approx(TTestPower().power(effect, n, 0.05), rel=1e-6)
    found = detectable_difference(1.3, n)
    assert TTestPower().power(found / 1.3, n, 0.05) == pytest.approx(0.8, abs=1e-6)
    assert power(0.0, 1.0, n) == pytest.approx(0.05)
    assert power(1e6, 1.0, n) == 1.0


def test_power_by_simulation() -> None:
    values = np.random.default_rng(2).normal(2.0, 1.0, (40_000, 4))
    rejected = stats.ttest_1samp(values, 0.0, axis=1).pvalue <= 0.05
    assert rejected.mean() == pytest.approx(power(2.0, 1.0, 4), abs=4 * math.sqrt(0.25 / 40_000))


@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 1.7])
def test_units_needed_agree_with_statsmodels(effect: float) -> None:
    expected = math.ceil(TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8))
    assert units_needed(2 * effect, 2.0) == units_needed(-2 * effect, 2.0) == expected


def test_without_spread_nothing_is_claimed() -> None:
    assert math.isnan(detectable_difference(1.0, 1)) and math.isnan(detectable_difference(math.nan, 5))
    assert [units_needed(0.5, sd) for sd in (0.0, math.nan, math.inf)] == [None] * 3
    assert units_needed(0.0, 1.0) is None and units_needed(1e-6, 1.0) is None
    assert units_needed(50.0, 1.0) == 2
    assert math.isnan(paired_result(pd.Series([0.1])).detectable)


@pytest.mark.parametrize("margin", [0.3, 0.6, 1.5])
def test_equivalence_and_interval_agree_with_statsmodels(margin: float) -> None:
    values = np.random.default_rng(3).normal(0.2, 0.5, 7)
    result, reference = paired_result(pd.Series(values)), DescrStatsW(values)
    assert (result.low, result.high) == pytest.approx(reference.tconfint_mean())
    _, p_below, _ = reference.ttest_mean(margin, alternative="smaller")
    assert is_not_notable(result, margin) == (p_below < 0.05)
    assert (result.t, result.p) == pytest.approx(reference.ttest_mean(0)[:2])


def test_holm_agrees_with_statsmodels() -> None:
    for p in np.random.default_rng(0).uniform(0, 0.2, (5, 6)):
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])


def judged_runs() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    cells = [
        (a, b, 1, g + rng.normal()) for a, g in (("e2mc", 75), ("mmcr", 70), ("continued", 70)) for b in range(1, 8)
    ]
    runs = pd.DataFrame(cells, columns=["arm", "base_seed", "continuation_seed", METRIC])
    return runs.assign(
        phase="confirm", status="completed", run_id=[f"{a}-{b}" for a, b, *_ in cells], code="c0de", dataset="da7a",
        code_differs="",
        **{"test/knn/top1": runs[METRIC]},
    )  # fmt: skip


PLAN = make_plan(confirm=Confirm(tuple(range(1, 8)), (1,)), contrasts=(("e2mc", "continued"), ("mmcr", "continued")))


def test_the_test_can_be_chosen_and_is_named() -> None:
    runs = judged_runs()
    contrasts = declared_contrasts(runs, PLAN, test=PairedTest.SIGN_FLIP)
    assert [c.p_holm for c in contrasts] == holm([c.result.p_sign_flip for c in contrasts])
    assert contrasts[0].p_holm == 2 * floor(7) and contrasts[0].is_significant
    assert "two-sided sign-flip tests" in findings(contrasts, PLAN, test=PairedTest.SIGN_FLIP)[0]
    by_default = declared_contrasts(runs, PLAN)
    assert [c.p_holm for c in by_default] == holm([c.result.p for c in by_default])
    assert "two-sided paired t tests" in findings(by_default, PLAN)[0]


def test_a_secondary_metric_has_an_interval_and_no_p() -> None:
    contrasts = declared_contrasts(judged_runs(), PLAN, "test/knn/top1")
    frame = contrasts_frame(contrasts)
    assert frame[["t", "p", "p_holm", "p_sign_flip", "p_floor"]].isna().all(axis=None)
    assert frame[["mean", "low", "high", "effect", "detectable"]].notna().all(axis=None)
    assert not frame["is_primary"].any() and (frame["verdict"] == "secondary").all()


def test_contrasts_name_their_runs_and_what_is_doubtful() -> None:
    runs = judged_runs()
    runs.loc[runs["run_id"] == "mmcr-3", ["code_differs", "dataset"]] = ["criteria/mmcr.py", "0ther"]
    frame = contrasts_frame(declared_contrasts(runs, PLAN)).set_index("left")
    assert frame.loc["e2mc", "run_ids"].split() == [f"{a}-{b}" for a in ("e2mc", "continued") for b in range(1, 8)]
    assert frame.loc["mmcr", "verdict"].endswith("(mmcr: other data, other code)")
    assert frame.loc["e2mc", "verdict"] == "better"


def test_the_simulation_computes_what_the_reports_compute() -> None:
    rng = np.random.default_rng(1)
    differences = coverage.family(rng, "skewed", n=6, num_studies=20)
    outcome = coverage.outcomes(differences)
    for study in range(20):
        results = [paired_result(pd.Series(differences[study, c])) for c in range(coverage.NUM_CONTRASTS)]
        assert outcome.p_t[study] == pytest.approx([r.p for r in results])
        assert outcome.p_sign_flip[study] == pytest.approx([r.p_sign_flip for r in results])
        assert outcome.is_covered[study].tolist() == [r.low <= 0 <= r.high for r in results]
        smallest = min(holm([r.p for r in results]))
        assert coverage.any_rejected(outcome.p_t)[study] == (smallest <= 0.05)


@pytest.mark.parametrize("n", coverage.UNITS)
def test_normal_differences_are_covered_within_monte_carlo_error(n: int) -> None:
    """Every arm's interval covers its true mean in 95 % of studies, and Holm keeps 5 % for the whole family."""
    num_studies = 20_000
    row = coverage.simulate("normal", n, num_studies, seed=n)
    error = math.sqrt(0.95 * 0.05 / num_studies)  # contrasts of a study share its reference: not six times as many
    assert row.coverage == pytest.approx(0.95, abs=4 * error)
    assert row.family_error_t < 0.05 + 4 * error
    assert row.family_error_sign_flip < 0.05 + 4 * error
    if floor(n) > 0.05 / coverage.NUM_CONTRASTS:
        assert row.family_error_sign_flip == 0, "the floor is above what Holm asks for"
