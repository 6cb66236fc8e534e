"""What a caller asks for by name is there, or there is one clear error: an empty table would pass for a result."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from study.errors import HomeError, UserError, did_you_mean
from study.paths import StudyPaths
from study.plan.model import Arm, Phase, Plan

_SPLITS = ("validation", "test")


class UnknownNameError(UserError):
    """A run, an arm or a metric is named that is not there."""


def require_known(what: str, names: Iterable[str], known: Collection[str], where: str) -> None:
    """Check that all of `names` are known.

    Args:
        what: `run`, `arm` or `metric`.
        names: those that are asked for.
        known: those that there are.
        where: what should have them, e.g. `study 'toy'`.

    Raises:
        UnknownNameError: names all that are not there, and the nearest that is.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise UnknownNameError(
            f"{where} has no {what} {', '.join(map(repr, unknown))}.{did_you_mean(unknown[0], known)}"
        )


def listed(names: str | Iterable[str]) -> list[str]:
    """One name, or several."""
    return [names] if isinstance(names, str) else list(names)


def require_arm(plan: Plan, name: str) -> Arm:
    """The arm of a plan.

    Raises:
        UnknownNameError: it has no such arm.
    """
    require_known("arm", [name], [arm.name for arm in plan.arms], f"study {plan.study!r}")
    return plan.arm(name)


def require_metric(runs: pd.DataFrame, metric: str, plan: Plan) -> None:
    """Check that `metric` is a column of `runs`, or will be one once a run of `plan` is evaluated.

    Args:
        runs: see `analysis.frames.runs_frame`.
        metric: `<split>/<evaluation>/<metric>`.
        plan: says which evaluations there are.

    Raises:
        UnknownNameError: it is none.
    """
    if metric in runs.columns:
        return
    found = [str(column) for column in runs.columns if str(column).split("/")[0] in _SPLITS]
    is_evaluated = (
        bool(((runs["phase"] == Phase.CONFIRM) & (runs["status"] == "completed")).any()) if len(runs) else False
    )
    parts, evaluations = metric.split("/"), [evaluation.name for evaluation in plan.evaluations]
    may_come = len(parts) == 3 and parts[0] in _SPLITS and parts[1] in evaluations
    if is_evaluated or not may_come:
        require_known("metric", [metric], found or [f"test/{plan.primary}"], f"study {plan.study!r}")


def require_study(root: Path) -> None:
    """Check that a directory is that of a study.

    Raises:
        HomeError: it has no plan.json; names the studies that are there, or beside it.
    """
    if StudyPaths(root).plan.exists():
        return
    homes = [folder for folder in (root, root.parent) if folder.is_dir()]
    near = {folder: sorted(path.parent.name for path in folder.glob("*/plan.json")) for folder in homes}
    home = next((folder for folder, names in near.items() if names), root.parent)
    known = did_you_mean(root.name, near.get(home, []))
    raise HomeError(f"{root} is not the directory of a study: it has no plan.json. Studies in {home}:{known}")
