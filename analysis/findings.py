"""What the numbers of a study allow to say, in sentences generated from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from analysis.common_points import common_points_sentence
from analysis.contrasts import Contrast, gaps
from analysis.pairing_words import pairing_sentences
from analysis.records import RunStatus
from analysis.render import signed
from analysis.statistics import ALPHA, PairedTest
from study.plan.model import Phase, Plan

_TPE_STARTUP_TRIALS = 10  # Optuna's TPE samples at random until this many trials have an outcome


def findings(contrasts: Sequence[Contrast], plan: Plan, *, test: PairedTest = PairedTest.PAIRED_T) -> list[str]:
    """Say which contrasts are significant after Holm, which not notable, and which undetermined.

    Args:
        contrasts: see `analysis.contrasts.declared_contrasts`.
        plan: the study.
        test: the one that the contrasts were judged by.
    """
    if not contrasts:
        return ["The plan declares no contrasts, so nothing is tested."]
    judged = [c for c in contrasts if c.result.has_interval]
    significant = [c for c in judged if c.is_significant]
    family = f"the {len(contrasts)} declared contrasts (two-sided {test} tests on {plan.primary}, α = {ALPHA:g})"
    if not judged:
        sentences = [f"None of {family} can be judged."]
    elif significant:
        sentences = [f"Significant after Holm's correction over {family}: {_list(significant, with_mean=True)}."]
    else:
        sentences = [f"None of {family} is significant after Holm's correction."]
    if plan.equivalence_margin_pp is not None and judged:
        sentences += _within_margin(judged, plan.equivalence_margin_pp)
    open_ones = [c for c in judged if c.judgement == "undetermined"]
    if open_ones:
        sentences.append(f"Undetermined, neither significant nor shown to be small: {_list(open_ones)}.")
    sentences += _doubts(judged)
    unjudged = [c for c in contrasts if not c.result.has_interval]
    if judged and unjudged:
        sentences.append(f"Without a verdict, for the reason in the table: {_list(unjudged)}.")
    return sentences


def caveats(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> list[str]:
    """Say what a reader must know to weigh the numbers: what is missing, how tuning went, which code ran."""
    lacking = ", ".join(filter(None, gaps(runs, plan).values()))
    sentences = [f"Incomplete, completed confirm runs: {lacking}."] if lacking else []
    sentences += _search(runs, trials, plan)
    if plan.unit == "continuation":
        sentences.append("Every statement is for this checkpoint, tuned on it; the unit is the continuation seed.")
    sentences += _amendments(plan)
    sentences += pairing_sentences(runs, plan)
    confirm = runs[(runs["phase"] == Phase.CONFIRM) & (runs["code"] != "")]
    differing = runs[runs["code_differs"] != ""] if "code_differs" in runs else runs.iloc[:0]
    for phase, own in differing.groupby("phase"):
        arms = "; ".join(f"{arm}: {', '.join(g['code_differs'].unique())}" for arm, g in own.groupby("arm"))
        sentences.append(f"Some {phase} runs were made by other code than most ({arms}).")
    for column, what in (("cpu_model", "CPU models"), ("libraries", "sets of library versions")):
        kinds = sorted(set(confirm[column]) - {""}) if column in confirm else []
        if len(kinds) > 1:
            by_arm = {tuple(sorted(set(own))) for _, own in confirm.groupby("arm")[column]}
            where = "in every arm alike" if len(by_arm) == 1 else "and not in every arm alike"
            sentences.append(f"The confirm runs used {len(kinds)} {what}, {where}: {'; '.join(kinds)}.")
    return sentences


def _amendments(plan: Plan) -> list[str]:
    looked = plan.before_the_first_look()
    if looked is None:
        return []
    (amendment,) = [a for a in plan.amendments if a.num_seen][:1]
    when = datetime.fromtimestamp(amendment.t, UTC)
    sentence = (
        f"Extended after a look: seeds were added on {when:%Y-%m-%d %H:%M} UTC, when {amendment.num_seen} confirming"
        " runs had been evaluated; the p-values of the extended family are not corrected for that look."
    )
    return [sentence]


def search_name(plan: Plan) -> str:
    """Name the search for what it is: TPE that never leaves its start-up phase is random search."""
    if plan.tune.sampler == "tpe" and plan.tune.trials_per_arm > _TPE_STARTUP_TRIALS:
        return "TPE search with a start point"
    return "random search with a start point"


def _search(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> list[str]:
    tuned = [arm.name for arm in plan.arms if arm.is_tuned]
    if not tuned:
        return ["Exploratory: nothing was tuned, every arm ran at the values that its sweep file declares."]
    budget = plan.tune.trials_per_arm
    because = f" (TPE samples at random until {_TPE_STARTUP_TRIALS} trials have ended)"
    reason = because if plan.tune.sampler == "tpe" and search_name(plan).startswith("random") else ""
    what = f"{search_name(plan)}{reason}, {budget} trial{'' if budget == 1 else 's'} per arm"
    sentences = [f"Tuning: {what}, on the validation split."]
    num_random = budget if plan.tune.sampler == "random" else _TPE_STARTUP_TRIALS
    sentences += filter(None, [_looked_ahead(runs), common_points_sentence(trials, plan, num_random)])
    untuned = [arm.name for arm in plan.arms if arm.continued and not arm.is_tuned and not arm.inherits]
    if untuned:
        sentences.append(f"Not searched, though others were, and so at a disadvantage: {', '.join(untuned)}.")
    ended = trials.loc[trials["state"] != "running", "arm"].value_counts()
    short = [f"{name} {ended.get(name, 0)}/{budget}" for name in tuned if ended.get(name, 0) != budget]
    if plan.tune.pruning != "none":
        tried = runs[runs["phase"] == Phase.TUNE]
        share = f"{(tried['status'] == RunStatus.PRUNED).sum()} of {len(tried)} tuning runs"
        sentences.append(f"Pruned by the {plan.tune.pruning} rule within their arm: {share}; they count in the budget.")
    return sentences + (
        [f"The searches have not ended with equal budgets: {', '.join(short)} trials."] if short else []
    )


def _looked_ahead(runs: pd.DataFrame) -> str:
    """Say how many runs of the searches hold numbers of the test split; "" when none does."""
    columns = [name for name in runs if str(name).startswith("test/")]
    ahead = int(runs.loc[runs["phase"] == Phase.TUNE, columns].notna().any(axis=1).sum())
    return f"The test split was looked at while tuning: {ahead} tuning runs hold numbers of it." if ahead else ""


def _within_margin(judged: Sequence[Contrast], margin_pp: float) -> list[str]:
    small = [c for c in judged if "not notable" in c.judgement]
    if not small:
        return [f"For none of those that can be judged is an improvement of {margin_pp:g} pp ruled out."]
    bound = f"one-sided 95 % upper bound below the margin of {margin_pp:g} pp, not corrected for multiplicity"
    return [f"No notable improvement ({bound}): {_list(small)}."]


def _doubts(judged: Sequence[Contrast]) -> list[str]:
    reasons = dict.fromkeys(c.doubt for c in judged if c.doubt)
    return [
        f"Not to be trusted, {reason}: {_list([c for c in judged if c.doubt == reason])}."
        if any(c.doubt != reason for c in judged)
        else f"None of these verdicts is to be trusted: {reason}."
        for reason in reasons
    ]


def _list(contrasts: Sequence[Contrast], *, with_mean: bool = False) -> str:
    return ", ".join(f"{c.label} ({signed(c.result.mean)} pp)" if with_mean else c.label for c in contrasts)
