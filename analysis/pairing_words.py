"""What the audit of pairing says: of how many runs it compared what, what differs, and what it could not compare."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from analysis.pairing import DRAWS, EVALUATED, IMAGES, MOMENTS, VIEWS, WEIGHTS, Audit, audit
from study.plan.model import Plan

_ORDER = (WEIGHTS, MOMENTS, IMAGES, VIEWS, DRAWS, EVALUATED)
_BUT_SEEDS = "earlier code, which kept only hashes of seeds and of the base's file"


def pairing_sentences(runs: pd.DataFrame, plan: Plan) -> list[str]:
    """Say what the audit of a study's pairs has shown; nothing before a confirm run is completed."""
    found = audit(runs, plan)
    if not found.runs:
        return []
    compared = _list([_phrase(what, found) for what in _ORDER if what in found.compared])
    places = _places(found.cells, found, plan)
    sentences = []
    if found.unlike:
        differ = "; ".join(f"{what} of {arm} ({_at(seeds)})" for (what, arm), seeds in found.unlike.items())
        sentences.append(f"Not paired: {differ} differ from what other arms with equal seeds have.")
        sentences += [f"Compared by hashes of what runs saw, {places}: {compared}."] if compared else []
    elif compared:
        sentences.append(f"Pairing audited by hashes of what runs saw, {places}: arms have equal {compared}.")
    elif found.given:
        given = f"these are equal {_places(found.given_cells, found, plan)}, which does not show what was seen"
        return [f"Pairing not audited. {_of(found.old, found)} trained by {_BUT_SEEDS}; {given}."]
    elif len({(run["arm"], run["base_seed"]) for run in found.runs}) > len({run["base_seed"] for run in found.runs}):
        return ["Pairing not audited: the completed confirm runs kept no hashes that could be compared."]
    else:
        return [f"Pairing not audited: no two arms have completed confirm runs with equal {_unit(plan)}."]
    return [*sentences, *_gaps(found)]


def _gaps(found: Audit) -> list[str]:
    """What could not be compared."""
    sentences = []
    if found.old:
        sentences.append(f"{_of(found.old, found)} trained by {_BUT_SEEDS}: what they saw was not compared.")
    if found.late:
        first = _list(sorted({run["seen_steps"].partition("-")[0] for run in found.late}, key=int))
        sentences.append(
            f"{_of(found.late, found)} resumed from a checkpoint of earlier code: their weights were not compared, "
            f"their images and views from step {first} on."
        )
    still = [run for run in found.runs if run["loaded_weights"] and not run["seen_rows"]]
    if still and IMAGES in found.compared:
        arms = _list(sorted({str(run["arm"]) for run in still}))
        sentences.append(f"Without images and views, because not continued: {_runs(len(still))} of {arms}.")
    together = {str(cell[0]) for cell in found.cells | found.given_cells}
    lonely = sorted({str(run["base_seed"]) for run in found.runs} - together, key=int)
    if lonely:
        sentences.append(f"Not compared, because only one arm has completed runs there: base seed {_list(lonely)}.")
    return sentences


def _phrase(what: str, found: Audit) -> str:
    runs = found.compared[what]
    steps = {run["seen_steps"] for run in runs.values()}
    last, _, num_views = next(iter(steps)).partition("-")[2].partition("/") if len(steps) == 1 else ("", "", "")
    words = {
        WEIGHTS: "weights before the first step",
        MOMENTS: "moments of the optimiser before the first step",
        IMAGES: f"images in all {last} steps" if last else "images in all steps",
        VIEWS: f"views in {num_views} of them, the first and the last of every epoch"
        if last
        else "views in the first and the last step of every epoch",
        DRAWS: "label draws",
        EVALUATED: "evaluated images",
    }[what]
    rounded = found.rounded & runs.keys() if what == VIEWS else set[str]()
    return f"{words} ({_runs(len(runs))}{f', {len(rounded)} of them up to rounding' if rounded else ''})"


def _places(cells: Collection[tuple[int, ...]], found: Audit, plan: Plan) -> str:
    width = 1 if plan.unit == "base" else 2
    total = len({(run["base_seed"], run["continuation_seed"])[:width] for run in found.runs})
    if len(cells) < total:
        return f"within {len(cells)} of {total} {_unit(plan)}"
    return f"at the one {_unit(plan)[:-1]}" if total == 1 else f"within each of {total} {_unit(plan)}"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _unit(plan: Plan) -> str:
    return "base seeds" if plan.unit == "base" else "base and continuation seeds"


def _of(some: Sequence[object], found: Audit) -> str:
    total = len(found.runs)
    return f"{'All' if len(some) == total else f'{len(some)} of'} {total} completed confirm runs were"


def _at(seeds: Sequence[tuple[int, ...]]) -> str:
    shown = list(dict.fromkeys(f"b{s[0]}" if len(s) == 1 else f"b{s[0]}-c{s[1]}" for s in sorted(seeds)))
    return _list(shown)


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
