import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.contrasts import declared_contrasts
from analysis.statistics import holm, is_not_notable, paired_differences, paired_result, unit_values
from study.errors import StudyError
from study.plan.model import Confirm, Plan
from tests.fakes.study_home import make_plan

METRIC = "test/linear_probe/top1_mean"
Cell = tuple[str, int, int, float]  # arm, base seed, continuation seed, value


def frame(cells: list[Cell], status: str = "completed") -> pd.DataFrame:
    table = pd.DataFrame(cells, columns=["arm", "base_seed", "continuation_seed", METRIC])
    return table.assign(phase="confirm", status=status, run_id=[str(i) for i in range(len(table))])


def plan_with(bases: tuple[int, ...], seeds: tuple[int, ...] = (1,), **changes: object) -> Plan:
    return make_plan(confirm=Confirm(bases, seeds), **changes)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    left, right = rng.normal(70, 1, n), rng.normal(69.5, 1, n)
    bases = tuple(range(1, n + 1))
    cells = [("e2mc", b, 1, float(x)) for b, x in zip(bases, left, strict=True)]
    cells += [("continued", b, 1, float(x)) for b, x in zip(bases, right, strict=True)]
    differences = paired_differences(frame(cells), ("e2mc", "continued"), METRIC, plan_with(bases))
    assert differences.index.tolist() == list(bases)
    result = paired_result(differences)
    expected = stats.ttest_rel(left, right)
    interval = stats.t.interval(0.95, n - 1, np.mean(left - right), stats.sem(left - right))
    assert (result.t, result.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (result.low, result.high) == pytest.approx(interval)
    assert result.effect == pytest.approx(result.t / math.sqrt(n))
    assert (result.n, result.wins, result.reason) == (n, int((left > right).sum()), "")
    one_sided = stats.ttest_rel(left, right, alternative="less").confidence_interval(0.95)
    assert result.upper == pytest.approx(one_sided.high)


def test_continuation_seeds_are_averaged_within_their_base() -> None:
    cells = [("e2mc", 1, 1, 70.0), ("e2mc", 1, 2, 72.0), ("e2mc", 2, 1, 60.0), ("e2mc", 2, 2, 64.0)]
    cells += [
        ("continued", 1, 1, 70.0),
        ("continued", 1, 2, 70.0),
        ("continued", 2, 1, 61.0),
        ("continued", 2, 2, 61.0),
    ]
    plan = plan_with((1, 2), (1, 2))
    assert unit_values(frame(cells), "e2mc", METRIC, plan).to_dict() == {1: 71.0, 2: 62.0}
    differences = paired_differences(frame(cells), ("e2mc", "continued"), METRIC, plan)
    assert differences.to_dict() == {1: 1.0, 2: 1.0}
    assert paired_result(differences).num_planned == 2  # four runs per arm, two units


def test_the_arm_that_is_not_continued_is_paired_at_base_level() -> None:
    cells = [("e2mc", b, c, 70.0 + b + c) for b in (1, 2) for c in (1, 3)]
    cells += [("base", 1, 0, 71.0), ("base", 2, 0, 70.0)]
    differences = paired_differences(frame(cells), ("e2mc", "base"), METRIC, plan_with((1, 2), (1, 3)))
    assert differences.to_dict() == {1: 2.0, 2: 4.0}


def test_a_missing_continuation_seed_makes_its_base_missing() -> None:
    cells = [("e2mc", b, c, 70.0) for b in (1, 2) for c in (1, 2)][:-1]
    values = unit_values(frame(cells), "e2mc", METRIC, plan_with((1, 2), (1, 2)))
    assert values[1] == 70.0
    assert math.isnan(values[2])


@pytest.mark.parametrize("lost", ["absent", "diverged", "incomplete", "nan", "inf"])
def test_no_pair_is_dropped_silently(lost: str) -> None:
    cells: list[Cell] = [("e2mc", b, 1, 70.0 + b * b) for b in (1, 2, 3)]
    cells += [("continued", b, 1, 70.0) for b in (1, 2, 3)]
    runs = frame(cells)
    if lost == "absent":
        runs = runs.drop(index=1)
    elif lost in ("nan", "inf"):
        runs.loc[1, METRIC] = float(lost)
    else:
        runs.loc[1, "status"] = lost
    result = paired_result(paired_differences(runs, ("e2mc", "continued"), METRIC, plan_with((1, 2, 3))))
    assert (result.n, result.num_planned, result.reason) == (2, 3, "n=2/3")
    assert not result.has_interval
    assert all(math.isnan(x) for x in (result.low, result.high, result.upper, result.t, result.p, result.effect))


def test_tune_runs_count_for_nothing() -> None:
    runs = frame([("e2mc", 1, 1, 70.0)]).assign(phase="tune")
    plan = plan_with((1,))
    assert unit_values(runs, "e2mc", METRIC, plan).isna().all()


def test_one_unit_gives_no_interval() -> None:
    result = paired_result(pd.Series([0.4]))
    assert (result.n, result.mean, result.reason) == (1, 0.4, "n=1: no interval")
    assert math.isnan(result.low)
    assert math.isnan(result.p)


def test_equal_differences_are_no_certainty() -> None:
    zero = paired_result(pd.Series([0.0, 0.0, 0.0]))
    assert (zero.mean, zero.p, zero.reason) == (0.0, 1.0, "all values are zero")
    assert math.isnan(zero.low)
    rounding = paired_result(pd.Series([70.1, 71.1, 72.1]) - pd.Series([70.0, 71.0, 72.0]))
    assert rounding.mean == pytest.approx(0.1)
    assert math.isnan(rounding.p)
    assert rounding.reason.startswith("all values are equal")
    assert is_not_notable(zero, 0.5) is None


def test_holm_worked_example() -> None:
    # Holm (1979) as in R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_against_an_independent_definition() -> None:
    """Adjusted p = smallest level at which the step-down procedure rejects."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 9):
        p = rng.uniform(0, 0.2, size)
        adjusted = holm(p.tolist())
        for alpha in (0.01, 0.05, 0.1, 0.3):
            rejected = set()
            for rank, index in enumerate(np.argsort(p)):
                if p[index] > alpha / (size - rank):
                    break
                rejected.add(int(index))
            assert {i for i, q in enumerate(adjusted) if q <= alpha} == rejected


def test_a_contrast_without_p_still_counts_in_the_family() -> None:
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.03)
    assert adjusted[2] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_not_notable_is_a_one_sided_test() -> None:
    result = paired_result(pd.Series([0.1, 0.2, 0.3, 0.2]))
    bound = 0.2 + stats.t.ppf(0.95, 3) * stats.sem([0.1, 0.2, 0.3, 0.2])
    assert result.upper == pytest.approx(bound)
    assert is_not_notable(result, bound + 1e-6) is True
    assert is_not_notable(result, bound - 1e-6) is False
    assert is_not_notable(result, None) is None
    assert is_not_notable(paired_result(pd.Series([0.1])), 0.5) is None


def test_unit_continuation_pairs_by_continuation_seed() -> None:
    plan = plan_with((1,), (1, 2, 3), unit="continuation")
    cells = [("e2mc", 1, c, 70.0 + c) for c in (1, 2, 3)] + [("continued", 1, c, 70.0) for c in (1, 2, 3)]
    runs = frame([*cells, *(("base", 1, c, 68.0 + c) for c in (1, 2, 3))])  # label draws vary
    assert paired_differences(runs, ("e2mc", "continued"), METRIC, plan).to_dict() == {1: 1.0, 2: 2.0, 3: 3.0}
    assert paired_differences(runs, ("e2mc", "base"), METRIC, plan).to_dict() == {1: 2.0, 2: 2.0, 3: 2.0}
    with pytest.raises(StudyError, match="one checkpoint"):
        unit_values(runs, "e2mc", METRIC, replace(plan, confirm=Confirm((1, 2), (1,))))


def test_rows_for_the_same_seeds_are_refused() -> None:
    with pytest.raises(StudyError, match="same seeds"):
        unit_values(frame([("e2mc", 1, 1, 70.0)] * 2), "e2mc", METRIC, plan_with((1,)))


def test_holm_covers_the_primary_metric_alone() -> None:
    rng = np.random.default_rng(1)
    plan = plan_with((1, 2, 3), contrasts=(("e2mc", "continued"), ("mmcr", "continued")))
    cells = [(a, b, 1, float(rng.normal(70, 1))) for a in ("e2mc", "mmcr", "continued") for b in (1, 2, 3)]
    runs = frame(cells)
    runs["test/knn/top1"] = runs[METRIC] + rng.normal(0, 1, len(runs))
    primary = declared_contrasts(runs, plan)
    assert [c.p_holm for c in primary] == pytest.approx(holm([c.result.p for c in primary]))
    secondary = declared_contrasts(runs, plan, "test/knn/top1")
    assert all(math.isnan(c.p_holm) and c.verdict == "secondary" for c in secondary)
    assert all(math.isnan(c.result.p) and not math.isnan(c.result.low) for c in secondary)
