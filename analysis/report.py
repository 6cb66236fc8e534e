"""The report of a study: tables, figure and honest sentences, from whatever has finished so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import render, style
from analysis.contrasts import confirm_status, contrasts_frame, declared_contrasts, missing_runs
from analysis.figures.paired_differences import paired_differences
from analysis.findings import caveats, findings
from analysis.frames import RunStatus, load_plan, runs_frame, trials_frame
from analysis.tables import (
    budget_table,
    comparison_columns,
    comparison_frame,
    comparison_table,
    contrasts_table,
    winners_table,
)
from study.journal.files import write_text
from study.paths import StudyPaths
from study.plan.model import Phase, Plan


@dataclass(frozen=True)
class Report:
    """What `write_report` did.

    Attributes:
        text: for a terminal of 100 columns.
        files: everything that was written.
    """

    text: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Section:
    stem: str
    title: str
    table: pd.DataFrame
    note: str = ""


def write_report(study_root: Path) -> Report:
    """Write the tables and figures of a study, finished or not, into its folder `report/`.

    The same runs give the same bytes, so that a report can be written as often as one likes.

    Raises:
        HomeError: `study_root` is not the directory of a study.
    """
    plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
    everything = runs_frame(study_root, include_unused=True)
    contrasts = declared_contrasts(runs, plan)
    sections = _sections(runs, trials, plan)
    sentences = findings(contrasts, plan) + caveats(runs, trials, plan) + _unused(everything)
    state = _state(runs, plan)

    folder = StudyPaths(study_root).report
    folder.mkdir(exist_ok=True)
    texts = {
        "runs.csv": everything.to_csv(index=False),
        "report.md": _markdown(plan, state, sections, sentences, runs),
    }
    for section in sections:
        texts[f"{section.stem}.md"] = render.to_markdown(section.table)
        if section.stem in ("comparison", "contrasts"):
            caption = f"{section.title}. {section.note}"
            texts[f"{section.stem}.tex"] = render.to_latex(section.table, caption, f"tab:{section.stem}")
    all_metrics = [declared_contrasts(runs, plan, metric) for metric in comparison_columns(runs, plan)]
    texts["contrasts.csv"] = contrasts_frame([c for family in all_metrics for c in family]).to_csv(index=False)
    texts["comparison.csv"] = comparison_frame(runs, plan).to_csv(index=False)
    texts["budget.csv"] = budget_table(runs, trials, plan).to_csv(index=False)
    for name, text in texts.items():
        write_text(folder / name, text)
    figure = paired_differences(
        contrasts,
        metric=plan.primary,
        colours=style.arm_colours(plan),
        margin_pp=plan.equivalence_margin_pp,
        unit=plan.unit,
    )
    files = [*(folder / name for name in texts), *style.save(figure, folder / "paired_differences")]
    return Report(_text(plan, state, sections, sentences, folder), tuple(sorted(files)))


def _sections(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> list[_Section]:
    units = f"{plan.unit} seeds" + ("; for this checkpoint, tuned on it" if plan.unit == "continuation" else "")
    comparison = f"Mean ± half-width of the 95 % t interval over {units}."
    contrasts = f"Paired t over {units}, on {plan.primary}; Holm over the {len(plan.contrasts)} declared contrasts."
    budget = "CPU seconds of all attempts; the bases, which all arms share, are not counted."
    return [
        _Section("comparison", "Test accuracy (%)", comparison_table(runs, plan), comparison),
        _Section("contrasts", "Differences (percentage points)", contrasts_table(runs, plan), contrasts),
        _Section("winners", "Parameters, chosen on the validation split", winners_table(trials, plan)),
        _Section("budget", "Budget", budget_table(runs, trials, plan), budget),
    ]


def _state(runs: pd.DataFrame, plan: Plan) -> str:
    status = confirm_status(runs, plan)
    done, planned = status["completed"].sum(), status["planned"].sum()
    bases, continuations = len(plan.confirm.base_seeds), len(plan.confirm.continuation_seeds)
    seeds = f"{bases} base × {continuations} continuation seeds"
    return f"{done} of {planned} confirm runs completed. Per arm: {seeds}."


def _unused(everything: pd.DataFrame) -> list[str]:
    unused = everything[everything["unused"] != ""]
    return [
        f"Not used: {len(group)} run(s), {group['cpu_s'].sum():.0f} CPU s: {reason} (see runs.csv)."
        for reason, group in unused.groupby("unused")
    ]


def _text(plan: Plan, state: str, sections: Sequence[_Section], sentences: Sequence[str], folder: Path) -> str:
    parts = [f"{plan.study}: {plan.question}", state, ""]
    for section in sections:
        if section.stem in ("comparison", "contrasts"):
            parts += [f"{section.title}. {section.note}", "", render.to_text(section.table)]
    return "\n".join([*map(render.wrap, [*parts, *sentences]), "", f"Report: {folder}", ""])


def _markdown(
    plan: Plan, state: str, sections: Sequence[_Section], sentences: Sequence[str], runs: pd.DataFrame
) -> str:
    parts = [f"# {plan.study}", plan.question, state, "## Findings", "\n".join(f"- {s}" for s in sentences)]
    for section in sections:
        parts += [f"## {section.title}", section.note, render.to_markdown(section.table).rstrip()]
        if section.stem == "contrasts":
            parts.append("![Paired differences of the declared contrasts](paired_differences.png)")
    return "\n\n".join([*filter(None, parts), "## Provenance", _origins(runs), _provenance(plan, runs)]) + "\n"


def _origins(runs: pd.DataFrame) -> str:
    """Which code, data and machines the numbers come from, and when."""
    lines = []
    for column, what in (
        ("code", "code identity (sha256)"), ("commit", "git commit"), ("dataset", "training files (sha256)"),
        ("cpu_model", "CPU"),
    ):  # fmt: skip
        values = sorted(set(runs[column]) - {""})
        lines += [f"- {what}: {', '.join(f'`{value}`' for value in values)}"] if values else []
    starts = pd.to_datetime(runs["start_t"].dropna(), unit="s", utc=True)
    if len(starts):
        lines.append(f"- runs started: {starts.min():%Y-%m-%d %H:%M} to {starts.max():%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines)


def _provenance(plan: Plan, runs: pd.DataFrame) -> str:
    """Which runs each arm's numbers come from, and which there should be."""
    missing = missing_runs(runs, plan)
    lines = ["Every number above comes from the folders `runs/<run id>` of the study:", ""]
    for arm in plan.arms:
        for phase in (Phase.TUNE, Phase.CONFIRM):
            own = runs[(runs["arm"] == arm.name) & (runs["phase"] == phase)]
            states = zip(own["run_id"], own["status"], strict=True)
            names = [
                f"`{name}`" if status == RunStatus.COMPLETED else f"`{name}` ({status})" for name, status in states
            ]
            lines += [f"- {arm.name}, {phase}: {', '.join(names)}"] if names else []
        if missing[arm.name]:
            lines.append(f"- {arm.name}, confirm, not there yet: {', '.join(missing[arm.name])}")
    return "\n".join(lines)
