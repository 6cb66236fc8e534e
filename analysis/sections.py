"""The sections of a report: each a table with a note; and the sentences around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.audit import environment_table, failures_table
from analysis.contrasts import confirm_status, missing_runs
from analysis.frames import RunStatus, StudyFrames
from analysis.outcomes import fruitless_arms
from analysis.provenance import redone_table
from analysis.sign_flip import floor
from analysis.statistics import PairedTest
from analysis.tables import (
    budget_table,
    comparison_table,
    components_table,
    contrasts_table,
    secondary_table,
    winners_table,
)
from study.plan.fruitless import without_result
from study.plan.model import Phase

TERMINAL_COLUMNS: Mapping[str, tuple[str, ...]] = {  # of tables that have more than a terminal has room for
    "contrasts": ("contrast", "Δ (pp)", "95 % CI", "p", "p sign-flip", "p Holm", "wins", "verdict"),
}
PAPER_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "contrasts": ("contrast", "Δ (pp)", "95 % CI", "n", "p", "p sign-flip", "p Holm", "verdict"),
}


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        stem: of its files, and its anchor in the page.
        title: says what it shows.
        table: of strings.
        note: how to read it.
    """

    stem: str
    title: str
    table: pd.DataFrame
    note: str = ""

    def only(self, columns: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
        """The table, or those columns of it that are meant for this section."""
        return self.table[list(columns.get(self.stem, self.table.columns))]


def all_sections(frames: StudyFrames, test: PairedTest = PairedTest.PAIRED_T) -> list[Section]:
    """All sections in their order; those that have nothing to show are left out."""
    plan, runs, trials = frames.plan, frames.runs, frames.trials
    lost = without_result(fruitless_arms(frames.everything, trials, plan))
    units = f"{plan.unit} seeds" + ("; for this checkpoint, tuned on it" if plan.unit == "continuation" else "")
    num_units = len(plan.confirm.base_seeds if plan.unit == "base" else plan.confirm.continuation_seeds)
    family = f"Holm over the {len(plan.contrasts)} declared contrasts"
    looked = plan.before_the_first_look()
    original = Section(
        "contrasts_as_planned",
        "Differences (percentage points), as planned before the first look",
        contrasts_table(runs, looked, test=test) if looked else pd.DataFrame(),
        f"Over the units of the original plan alone; {family}.",
    )
    sections = [
        Section(
            "comparison",
            "Test accuracy (%)",
            comparison_table(runs, plan),
            f"Mean ± half-width of the 95 % t interval over {units}.",
        ),
        original,
        Section(
            "contrasts",
            "Differences (percentage points)" + (", extended after a look" if looked else ""),
            contrasts_table(runs, plan, test=test),
            f"{str(test).capitalize()} over {units}, on {plan.primary}; {family}. "
            f"A sign-flip p cannot be below {floor(num_units):.2g} with n = {num_units}.",
        ),
        Section(
            "components",
            "What each component is worth",
            components_table(runs, plan),
            f"The complete arm minus the one without, on {plan.primary}. Undeclared ones are secondary: not tested.",
        ),
        Section(
            "secondary",
            "Secondary metrics",
            secondary_table(runs, plan) if plan.contrasts else pd.DataFrame(),
            f"Mean difference [95 % t interval] over {units}. Secondary: no tests, no correction for their number.",
        ),
        Section("winners", "Parameters, chosen on the validation split", winners_table(trials, plan, lost)),
        Section(
            "budget",
            "Budget",
            budget_table(runs, trials, plan),
            "CPU seconds of all attempts; the bases, which all arms share, are not counted.",
        ),
        Section(
            "failures",
            "Failures and interruptions",
            failures_table(frames.everything, plan, lost),
            "Runs that are not completed, were interrupted, cannot be read, or are not there.",
        ),
        Section(
            "redone",
            "Made anew",
            redone_table(frames.provenance, runs, plan),
            f"What was moved aside to be trained or evaluated again; primary: {plan.primary}, mean over confirm runs.",
        ),
        Section("environment", "Environment", environment_table(runs, plan), "Of the confirm runs."),
    ]
    return [s for s in sections if len(s.table) or s.stem in ("comparison", "contrasts")]


def state_of(frames: StudyFrames) -> str:
    """How far the study has got, and which arms came to nothing."""
    plan = frames.plan
    lost = without_result(fruitless_arms(frames.everything, frames.trials, plan))
    status = confirm_status(frames.runs, plan)
    done, planned = status["completed"].sum(), status["planned"].sum()
    bases, continuations = len(plan.confirm.base_seeds), len(plan.confirm.continuation_seeds)
    seeds = f"{bases} base × {continuations} continuation seeds"
    state = f"{done} of {planned} confirm runs completed. Per arm: {seeds}."
    return f"{state} No result for {', '.join(lost)}." if lost else state


def unused(everything: pd.DataFrame) -> list[str]:
    """Say which runs do not count, by reason; what the reasons for unreadable ones are is in the table of failures."""
    found = everything[everything["unused"] != ""]
    sentences = []
    for reason, group in found.groupby(
        found["unused"].str.replace(r"^cannot be read: .*", "cannot be read", regex=True)
    ):
        where = "see the table of failures" if reason == "cannot be read" else "see runs.csv"
        cost = f"{group['cpu_s'].sum():.0f} CPU s: " if reason != "cannot be read" else ""
        sentences.append(f"Not used: {len(group)} run(s), {cost}{reason} ({where}).")
    return sentences


def origins(runs: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Which code, data and machines the numbers come from, and when: (what, values)."""
    found = []
    for column, what in (
        ("code", "code of the trainings (sha256)"), ("commit", "git commit"),
        ("uncommitted", "executed, but not in the commit"), ("dataset", "training files (sha256)"),
        ("cpu_model", "CPU"), ("python", "Python"), ("libraries", "libraries"),
    ):  # fmt: skip
        values = sorted(set(runs[column]) - {""}) if column in runs else []
        found += [(what, values)] if values else []
    starts = pd.to_datetime(runs["start_t"].dropna(), unit="s", utc=True)
    if len(starts):
        found.append(("runs started", [f"{starts.min():%Y-%m-%d %H:%M} to {starts.max():%Y-%m-%d %H:%M} UTC"]))
    return found


def runs_by_arm(frames: StudyFrames) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Arm → phase → (run id, status unless completed): which runs the numbers come from, and which there should be."""
    runs, plan = frames.runs, frames.plan
    lost = without_result(fruitless_arms(frames.everything, frames.trials, plan))
    missing, found = missing_runs(runs, plan), dict[str, dict[str, list[tuple[str, str]]]]()
    for arm in plan.arms:
        phases: dict[str, list[tuple[str, str]]] = {}
        for phase in (Phase.TUNE, Phase.CONFIRM):
            own = runs[(runs["arm"] == arm.name) & (runs["phase"] == phase)]
            pairs = zip(own["run_id"], own["status"], strict=True)
            phases[phase] = [(run_id, "" if status == RunStatus.COMPLETED else str(status)) for run_id, status in pairs]
        absent = f"confirm, not {'run' if arm.name in lost else 'there yet'}"
        phases[absent] = [(seeds, "") for seeds in missing[arm.name]]
        found[arm.name] = {name: ids for name, ids in phases.items() if ids}
    return found
