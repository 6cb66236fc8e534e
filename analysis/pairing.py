"""The audit of pairing: whether arms with equal seeds started from the same weights and saw the same data.

Compared are hashes of what each run saw while it trained and while it was evaluated, see `study.journal.final`. Runs
of earlier code kept hashes of what they were given: their base's file, and seeds, which are equal by construction and
prove nothing. What the audit says is in `analysis.pairing_words`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from analysis.columns import SEEN_COLUMNS
from analysis.records import RunStatus
from study.plan.model import Phase, Plan

# The largest difference between sketches of the same views. Measured: other vector instructions of a processor move
# them by 2e-7; one image of 250 that is augmented otherwise, in one step of four, by 1e-2.
ROUNDING = 1e-4

WEIGHTS, MOMENTS, IMAGES, VIEWS = "weights", "moments of the optimiser", "images", "views"
DRAWS, EVALUATED = "label draws", "evaluated images"
NOT_THE_FILE, FILE, SEEDS = "weights (not those of the base's file)", "file of the base", "seeds of images and views"
_NEEDED = ("run_id", "arm", "base_seed", "continuation_seed")
Run = Mapping[str, Any]


class Fact(NamedTuple):
    """Something that a run saw, or was given.

    Attributes:
        what: one of the names above.
        where: which steps, or which evaluation: only what was seen at the same place is compared.
        seeds: what it may depend on.
        value: its hash.
        run: the run.
        is_seen: whether the run saw it; else it was given it, and may have done with it as it liked.
    """

    what: str
    where: str
    seeds: tuple[int, ...]
    value: str
    run: Run
    is_seen: bool = True


@dataclass
class Audit:
    """What a comparison of completed confirm runs has shown.

    Attributes:
        runs: the runs.
        compared: what → the runs, by id, of which it was seen and compared with another arm's.
        given: the runs of which something was compared that they were given.
        cells: the seeds at which something was compared that was seen: of the base, or of base and continuation.
        given_cells: the seeds at which something was compared that was given.
        unlike: (what, arm) → the seeds at which it differs from what most arms have.
        rounded: the runs whose views differ from most others' by rounding.
    """

    runs: Sequence[Run]
    compared: dict[str, dict[str, Run]] = field(default_factory=dict)
    given: dict[str, Run] = field(default_factory=dict)
    cells: set[tuple[int, ...]] = field(default_factory=set)
    given_cells: set[tuple[int, ...]] = field(default_factory=set)
    unlike: dict[tuple[str, str], list[tuple[int, ...]]] = field(default_factory=dict)
    rounded: set[str] = field(default_factory=set)

    @property
    def old(self) -> list[Run]:
        """The runs that kept only hashes of what they were given."""
        return [run for run in self.runs if not run["loaded_weights"] and not run["seen_rows"]]

    @property
    def late(self) -> list[Run]:
        """The runs whose hashes begin after a checkpoint of earlier code."""
        return [run for run in self.runs if run["seen_rows"] and not run["loaded_weights"]]


def audit(runs: pd.DataFrame, plan: Plan) -> Audit:
    """Compare the completed confirm runs of different arms with equal seeds.

    Args:
        runs: see `analysis.frames.runs_frame`. Columns of `SEEN_COLUMNS` that it lacks are taken to be empty.
        plan: says which arm is the reference, and whether label draws are new for every base or every continuation.
    """
    found = Audit(_records(_completed(runs)))
    groups: dict[tuple[str, str, tuple[int, ...]], list[Fact]] = {}
    is_old_study = bool(found.old)
    for run in found.runs:
        for fact in _facts(run, plan, is_old_study=is_old_study):
            groups.setdefault((fact.what, fact.where, fact.seeds), []).append(fact)
    for (what, _, seeds), facts in groups.items():
        for seen in {fact.is_seen for fact in facts}:
            alike = [fact for fact in facts if fact.is_seen is seen]
            if len({fact.run["arm"] for fact in alike}) < 2:
                continue
            by_id = found.compared.setdefault(what, {}) if seen else found.given
            by_id.update((fact.run["run_id"], fact.run) for fact in alike)
            if plan.unit == "base" or len(seeds) > 1:
                (found.cells if seen else found.given_cells).add(seeds[:1] if plan.unit == "base" else seeds)
        for fact, is_rounding in _unlike(facts, plan.reference):
            if is_rounding:
                found.rounded.add(fact.run["run_id"])
            else:
                found.unlike.setdefault((what, str(fact.run["arm"])), []).append(seeds)
        if what == WEIGHTS:
            for fact in facts:
                if fact.run["base_weights"] not in ("", fact.value):
                    found.unlike.setdefault((NOT_THE_FILE, str(fact.run["arm"])), []).append(seeds)
    return found


def unpaired_arms(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Say of every arm that is not paired with most others what differs, e.g. `views, label draws`; see `audit`."""
    if _are_all_alike(_completed(runs), plan):
        return {}
    found: dict[str, list[str]] = {}
    for what, arm in audit(runs, plan).unlike:
        found.setdefault(arm, []).append(what)
    return {arm: ", ".join(words) for arm, words in found.items()}


def _completed(runs: pd.DataFrame) -> pd.DataFrame:
    chosen = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    frame = chosen.reindex(columns=[*_NEEDED, *SEEN_COLUMNS])
    frame[list(SEEN_COLUMNS)] = frame[list(SEEN_COLUMNS)].astype(object).fillna("")
    return frame


def _records(completed: pd.DataFrame) -> list[Run]:
    return [{str(name): value for name, value in run.items()} for run in completed.to_dict(orient="records")]


def _are_all_alike(completed: pd.DataFrame, plan: Plan) -> bool:
    """Whether all runs with equal seeds have equal hashes, wherever they have any; soon told of thousands of runs."""
    known = completed.replace("", None)
    of_base = ["base_weights", "loaded_weights", "loaded_moments"] + (["evaluated"] if plan.unit == "base" else [])
    of_both = [name for name in SEEN_COLUMNS if name not in of_base and name != "view_sketch"]
    if plan.unit == "base":
        of_base.append(of_both.pop(of_both.index("label_draws")))
    is_alike = []
    for seeds, columns in (("base_seed", of_base), (["base_seed", "continuation_seed"], of_both)):
        counts = known.groupby(seeds)[columns].nunique()
        is_alike.append(bool(counts.le(1).all(axis=None)))
    both_known = known[["base_weights", "loaded_weights"]].dropna()
    return all(is_alike) and bool((both_known["base_weights"] == both_known["loaded_weights"]).all())


def _facts(run: Run, plan: Plan, *, is_old_study: bool) -> Iterator[Fact]:
    base, both = (run["base_seed"],), (run["base_seed"], run["continuation_seed"])
    drawn = base if plan.unit == "base" else both
    found = [
        Fact(WEIGHTS, "", base, run["loaded_weights"], run),
        Fact(MOMENTS, "", base, run["loaded_moments"], run),
        Fact(IMAGES, run["seen_steps"], both, run["seen_rows"], run),
        Fact(VIEWS, run["seen_steps"], both, run["seen_views"], run),
    ]
    if is_old_study:
        given = ((FILE, base, run["base_weights"]), (SEEDS, both, run["data_stream"]))
        found += [Fact(what, "", seeds, value, run, is_seen=False) for what, seeds, value in given]
    for evaluation in run["evaluated"].split():
        key, _, hashes = evaluation.partition("=")
        labels, _, images = hashes.partition("/")
        found += [
            Fact(DRAWS, key, drawn, labels, run, is_seen=bool(images)),  # else computed once more from the seeds
            Fact(EVALUATED, key, drawn, images, run),
        ]
    if not run["evaluated"]:  # published by earlier code
        found.append(Fact(DRAWS, "", drawn, run["label_draws"], run, is_seen=False))
    return (fact for fact in found if fact.value)


def _unlike(facts: Sequence[Fact], reference: str) -> Iterator[tuple[Fact, bool]]:
    """The facts whose value is not the usual one, and whether it is but rounding."""
    usual = _usual(facts, reference)
    for fact in facts:
        if fact.value != usual.value:
            sketches = (fact.run["view_sketch"], usual.run["view_sketch"])
            yield fact, fact.what == VIEWS and _distance(*sketches) <= ROUNDING


def _usual(facts: Sequence[Fact], reference: str) -> Fact:
    """One with the value that most have; of equally frequent ones that of the base's file, then the reference's."""
    counts = Counter(fact.value for fact in facts)

    def rank(fact: Fact) -> tuple[int, bool, bool]:
        return counts[fact.value], fact.value == fact.run["base_weights"], fact.run["arm"] == reference

    return max(facts, key=rank)


def _distance(a: str, b: str) -> float:
    ours, theirs = ([float(number) for number in sketch.split()] for sketch in (a, b))
    if not ours or len(ours) != len(theirs):
        return float("inf")
    return max(abs(x - y) for x, y in zip(ours, theirs, strict=True))
