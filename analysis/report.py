"""The report of a study: a page, tables, figures and honest sentences, from whatever has finished so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from analysis import render, style
from analysis.contrasts import contrasts_frame, declared_contrasts
from analysis.figures.paired_differences import paired_differences
from analysis.findings import caveats, findings
from analysis.frames import StudyFrames, load_study
from analysis.outcomes import fruitless_arms
from analysis.outdated import outdated_trials
from analysis.page import page
from analysis.provenance import accepted_sentences, redone_sentences
from analysis.published import write_frame
from analysis.reasons import why_no_contrasts
from analysis.sections import (
    PAPER_COLUMNS,
    TERMINAL_COLUMNS,
    Section,
    all_sections,
    origins,
    runs_by_arm,
    state_of,
    unused,
)
from analysis.statistics import PairedTest, declared_test
from analysis.tables import comparison_columns, comparison_frame
from study.journal.files import write_atomic, write_text
from study.paths import StudyPaths
from study.plan.fruitless import sentences

PAGE = "report.html"
_IN_TERMINAL = ("comparison", "contrasts")


@dataclass(frozen=True)
class Report:
    """What `write_report` did.

    Attributes:
        text: for a terminal of 100 columns.
        files: everything that was written into the folder `report/`.
    """

    text: str
    files: tuple[Path, ...]


def write_report(study_root: Path, *, test: PairedTest | None = None) -> Report:
    """Write the report of a study, finished or not, into its folder `report/`; and the frame to be attached.

    Args:
        study_root: the directory of the study.
        test: whose p-values are corrected; the one that the plan declares by default.

    Raises:
        HomeError: `study_root` is not the directory of a study.
        JournalError: its plan or a trial is damaged, or of another schema version.
    """
    frames = load_study(study_root)
    report = write_report_of(frames, StudyPaths(study_root).report, test=test)
    write_frame(study_root, frames)
    return report


def write_report_of(frames: StudyFrames, folder: Path, *, test: PairedTest | None = None) -> Report:
    """Write the page, tables and figures of a study that was read from anywhere.

    The same runs give the same bytes, so that a report can be written as often as one likes. The page shows every PNG
    file of the folder.

    Args:
        frames: the study.
        folder: where to; created if need be.
        test: whose p-values are corrected; the one that the plan declares by default.
    """
    plan, runs = frames.plan, frames.runs
    test = test or declared_test(plan)
    contrasts = declared_contrasts(runs, plan, test=test)
    sections = all_sections(frames, test)
    lost = sentences(fruitless_arms(frames.everything, frames.trials, plan), plan)
    found = [*lost, *findings(contrasts, plan, test=test)]
    warnings = [
        *caveats(runs, frames.trials, plan),
        *outdated_trials(runs, frames.trials, plan),
        *redone_sentences(frames.provenance),
        *accepted_sentences(frames.provenance),
        *unused(frames.everything),
        *frames.notes,
    ]
    judged = [declared_contrasts(runs, plan, metric, test=test) for metric in comparison_columns(runs, plan)]
    numbers = {
        "comparison": comparison_frame(runs, plan),
        "contrasts": contrasts_frame([contrast for family in judged for contrast in family]),
    }
    folder.mkdir(exist_ok=True, parents=True)
    files = []
    for name, content in _contents(frames, sections, numbers, [*found, *warnings]):
        if isinstance(content, pd.DataFrame):
            write_atomic(folder / name, partial(content.to_csv, index=False, mode="wb"))
        else:
            write_text(folder / name, content)
        files.append(folder / name)
    figure = paired_differences(
        contrasts,
        metric=plan.primary,
        colours=style.arm_colours(plan),
        margin_pp=plan.equivalence_margin_pp,
        unit=plan.unit,
        nothing=why_no_contrasts(plan),
    )
    files += style.save(figure, folder / "paired_differences")
    pieces = page(frames, sections, found, warnings, numbers, folder)
    write_atomic(folder / PAGE, lambda file: file.writelines(piece.encode() for piece in pieces))
    said = [sentence for sentence in (*found, *warnings) if sentence not in lost]
    return Report(_text(frames, sections, said, lost, folder), tuple(sorted([*files, folder / PAGE])))


def _contents(
    frames: StudyFrames, sections: Sequence[Section], numbers: Mapping[str, pd.DataFrame], sentences: Sequence[str]
) -> Iterator[tuple[str, str | pd.DataFrame]]:
    """File names and contents but the page, one after the other: of thousands of runs they are large."""
    yield "runs.csv", frames.everything
    yield "report.md", _markdown(frames, sections, sentences)
    for section in sections:
        caption = f"{section.title}. {section.note}".strip()
        yield f"{section.stem}.md", render.to_markdown(section.table)
        yield f"{section.stem}.tex", render.to_latex(section.only(PAPER_COLUMNS), caption, f"tab:{section.stem}")
        yield f"{section.stem}.csv", numbers.get(section.stem, section.table)


def _text(
    frames: StudyFrames, sections: Sequence[Section], said: Sequence[str], lost: Sequence[str], folder: Path
) -> str:
    """The report for a terminal; what is to be typed is not wrapped."""
    parts = [f"{frames.plan.study}: {frames.plan.question}", state_of(frames), ""]
    for section in sections:
        if section.stem in _IN_TERMINAL:
            parts += [f"{section.title}. {section.note}", "", render.to_text(section.only(TERMINAL_COLUMNS))]
    return "\n".join([*map(render.wrap, [*parts, *said]), *lost, "", f"Report: {folder / PAGE}", ""])


def _markdown(frames: StudyFrames, sections: Sequence[Section], sentences: Sequence[str]) -> str:
    plan, escape = frames.plan, render.escape_markdown
    parts = [f"# {escape(plan.study)}", escape(plan.question), state_of(frames), "## Findings"]
    parts.append("\n".join(f"- {escape(sentence)}" for sentence in sentences))
    for section in sections:
        parts += [f"## {section.title}", section.note, render.to_markdown(section.table).rstrip()]
        if section.stem == "contrasts":
            parts.append("![Paired differences of the declared contrasts](paired_differences.png)")
    return "\n\n".join([*filter(None, parts), "## Provenance", _origins(frames), _provenance(frames)]) + "\n"


def _origins(frames: StudyFrames) -> str:
    return "\n".join(
        f"- {what}: {', '.join(values if what == 'runs started' else [f'`{value}`' for value in values])}"
        for what, values in origins(frames.runs)
    )


def _provenance(frames: StudyFrames) -> str:
    lines = ["Every number above comes from the folders `runs/<run id>` of the study:", ""]
    for arm, phases in runs_by_arm(frames).items():
        for phase, runs in phases.items():
            names = [f"`{name}`" + (f" ({status})" if status else "") for name, status in runs]
            shown = [name for name, _ in runs] if ", not " in phase else names
            lines.append(f"- {render.escape_markdown(arm)}, {phase}: {', '.join(shown)}")
    return "\n".join(lines)
