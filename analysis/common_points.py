"""Whether the random trials of different arms tried the same values of the parameters that they have in common."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from analysis.columns import PARAM_PREFIX
from analysis.winners import same_value
from study.plan.model import Plan


def common_points_sentence(trials: pd.DataFrame, plan: Plan, num_random: int) -> str:
    """Say what a comparison of trials with equal numbers has shown; "" when there is nothing to compare.

    Args:
        trials: see `analysis.frames.trials_frame`.
        plan: the study; parameters are compared where two arms search them over the same range.
        num_random: how many trials of a search are no guesses of its sampler; the first of them is the declared start.
    """
    is_random = trials["number"].between(1, num_random - 1)
    points = {(str(trial["arm"]), int(trial["number"])): trial for trial in trials[is_random].to_dict(orient="records")}
    compared, arms, differing = set[int](), set[str](), list[str]()
    for first, second in combinations([arm for arm in plan.arms if arm.is_tuned], 2):
        shared = [name for name, range_ in first.space.items() if second.space.get(name) == range_]
        for number in sorted({number for _, number in points}) if shared else ():
            ours, theirs = points.get((first.name, number)), points.get((second.name, number))
            if ours is None or theirs is None:
                continue
            compared.add(number)
            arms |= {first.name, second.name}
            wrong = [n for n in shared if not same_value(ours[PARAM_PREFIX + n], theirs[PARAM_PREFIX + n])]
            if wrong:
                differing.append(f"trial {number} of {first.name} and {second.name} ({', '.join(wrong)})")
    if differing:
        return f"Random trials of equal number tried other values of parameters in common: {'; '.join(differing)}."
    if not compared:
        return ""
    num, kind = len(compared), "trial" if len(compared) == 1 else "trials"
    return f"Random points are the same for all arms: {num} {kind} of {len(arms)} arms compared, in what they share."
