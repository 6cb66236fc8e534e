"""The report as one HTML page that needs nothing else: no network, no other file, and hardly a script.

Everything is escaped by Jinja; a content security policy forbids the page to load anything, whatever names say.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.contrasts import primary_column
from analysis.frames import StudyFrames
from analysis.sections import Section, origins, runs_by_arm, state_of
from study.plan.expand import tuning_differences
from study.plan.model import Plan, PlannedEvaluation

_PIECES = 500
_TEMPLATE = "page.html.jinja"


class Part(NamedTuple):
    """A piece of text, and where it leads within the page, or ""."""

    text: str
    anchor: str


class Picture(NamedTuple):
    """A PNG file as a data URI."""

    title: str
    uri: str


def page(
    frames: StudyFrames,
    sections: Sequence[Section],
    findings: Sequence[str],
    warnings: Sequence[str],
    numbers: Mapping[str, pd.DataFrame],
    folder: Path,
) -> Iterator[str]:
    """Yield the page in pieces; equal input gives equal text.

    Args:
        frames: the study.
        sections: the tables, in their order.
        findings: sentences.
        warnings: more sentences.
        numbers: name → unrounded numbers, kept in the page as JSON for programs that read it.
        folder: where PNG files are; all of them are shown.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    anchors = {arm.name: f"runs-{number}" for number, arm in enumerate(frames.plan.arms)}
    stream = environment.get_template(_TEMPLATE).stream(
        plan=frames.plan,
        state=state_of(frames),
        findings=findings,
        warnings=warnings,
        sections=[(section, list(_rows(section.table, anchors))) for section in sections],
        pictures=list(_pictures(folder)),
        protocol=protocol(frames.plan),
        plan_json=json.dumps(frames.plan.as_json(), indent=1, ensure_ascii=False),
        origins=origins(frames.runs),
        provenance=[(arm, anchors[arm], phases) for arm, phases in runs_by_arm(frames).items()],
        runs=_run_rows(frames),
        numbers={
            name: json.loads(frame.to_json(orient="records", double_precision=15)) for name, frame in numbers.items()
        },
    )
    stream.enable_buffering(_PIECES)  # of thousands of runs there are hundreds of thousands, of some bytes each
    yield from stream


def protocol(plan: Plan) -> list[tuple[str, str]]:
    """What was declared before anything ran: (what, value)."""
    margin, tune = plan.equivalence_margin_pp, plan.tune
    tuned = f"{tune.trials_per_arm} trials per arm ({tune.sampler}) on {tune.objective}, validation split; "
    tuned += f"base seeds {_list(tune.base_seeds)}"
    tuned += f"; there {', '.join(changed)}" if (changed := tuning_differences(plan)) else ""
    confirmed = f"base seeds {_list(plan.confirm.base_seeds)}"
    confirmed += f", continuation seeds {_list(plan.confirm.continuation_seeds)}"
    optimizer = ", ".join(f"{name} {value}" for name, value in plan.continuation.optimizer.items())
    return [
        ("data", _component(plan.dataset.name, plan.dataset.params)),
        ("base method", f"{plan.method.name}, backbone {plan.backbone.name}, {plan.pretraining.epochs} epochs"),
        ("continued", f"{plan.continuation.epochs} epochs, batch size {plan.continuation.batch_size}, {optimizer}"),
        ("tuned", tuned if any(arm.is_tuned for arm in plan.arms) else "nothing"),
        ("confirmed", f"{confirmed}; test split, which no other run may read"),
        ("unit", f"{plan.unit} seed; what lies below it is averaged first"),
        ("primary metric", plan.primary),
        ("evaluations", "; ".join(map(_evaluation, plan.evaluations))),
        ("contrasts", "; ".join(" − ".join(pair) for pair in plan.contrasts) or "none"),
        ("equivalence margin", "none, so that nothing is called small" if margin is None else f"{margin:g} pp"),
    ]  # fmt: skip


def _evaluation(planned: PlannedEvaluation) -> str:
    shown = _component(planned.name, planned.params)
    done = f"{planned.evaluation} " if planned.evaluation else ""
    where = f"on {_component(planned.dataset.name, planned.dataset.params)}" if planned.dataset else ""
    return f"{shown}: {done}{where}".rstrip() if done or where else shown


def _component(name: str, params: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key} {_list(v) if isinstance(v, list | tuple) else v}" for key, v in params.items())
    return f"{name} ({shown})" if shown else name


def _list(values: Sequence[Any]) -> str:
    return "/".join(map(str, values))


def _rows(table: pd.DataFrame, anchors: Mapping[str, str]) -> Iterator[tuple[list[Part], list[str]]]:
    """The first cell, whose arms lead to their runs, and the others."""
    for first, *others in table.itertuples(index=False, name=None):
        names = str(first).split(" − ") if str(first) not in anchors else [str(first)]
        yield [Part(name, anchors.get(name, "")) for name in names], list(map(str, others))


def _run_rows(frames: StudyFrames) -> list[dict[str, Any]]:
    metric = primary_column(frames.plan)
    found = frames.everything.assign(primary=frames.everything.get(metric))
    chosen = found[["run_id", "arm", "phase", "status", "num_attempts", "cpu_s", "primary", "unused"]]
    rows = chosen.astype(object).where(chosen.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _pictures(folder: Path) -> Iterator[Picture]:
    for file in sorted(folder.rglob("*.png")):
        if not file.name.startswith("."):
            data = base64.b64encode(file.read_bytes()).decode()
            yield Picture(file.stem.replace("_", " ").capitalize(), f"data:image/png;base64,{data}")
