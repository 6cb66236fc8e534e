"""Which runs of a study were made by other code than the rest, and which were made anew.

Every run can execute other files, because arms have other criteria. So files are compared one by one: a run differs in
a file when most runs that executed a file of that name, in the same role (training, or one evaluation), had another
text of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.render import signed
from study.journal.files import read_json, read_json_or_none
from study.paths import HomePaths, StudyPaths
from study.plan.model import Phase, Plan

Version = Mapping[str, Mapping[str, str]]  # `files` and `libraries` of a hash of code
_DIGITS = 12
_MOST_NAMED = 4
_TRAINING = "training"
_REDO, _ACCEPTED = "redo", "code change accepted"  # as `study.orchestration.aside` calls them


@dataclass(frozen=True)
class Provenance:
    """What is known about a study beside its runs.

    Attributes:
        code: hash of code (12 digits) → its files and libraries, of all runs; those that no home keeps are missing.
        aside: what was moved aside to be made anew, see `study.orchestration.aside`, the oldest first.
    """

    code: Mapping[str, Version] = field(default_factory=dict)
    aside: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars."""
        return asdict(self)


def read_provenance(study_root: Path, codes: Iterable[str]) -> Provenance:
    """Read what a study directory and its home keep of some hashes of code, and of what was moved aside."""
    study = StudyPaths(Path(study_root))
    home = HomePaths(study.root.parent)
    found = {code[:_DIGITS]: read_json_or_none(home.code_identity(code)) for code in codes if code}
    versions = {code: {"files": v["files"], "libraries": v["libraries"]} for code, v in found.items() if v is not None}
    return Provenance(versions, [read_json(file) for file in sorted(study.aside.glob("[0-9]*.json"))])


def codes_of(outcome: Mapping[str, Any]) -> dict[str, str]:
    """Role (`training`, or an evaluation) → hash of code (12 digits) of what a run has; see `study.journal.final`."""
    codes = {_TRAINING: str(outcome.get("code", ""))[:_DIGITS]}
    for pair in str(outcome.get("evaluation_code", "")).split():
        evaluation, _, code = pair.rpartition("=")
        codes[evaluation] = code
    return {role: code for role, code in codes.items() if code}


def code_differences(codes: Mapping[str, Mapping[str, str]], versions: Mapping[str, Version]) -> dict[str, str]:
    """Say of every run that differs from most others in the code of a role in which files and libraries it does.

    Args:
        codes: run id → role → hash of code.
        versions: see `Provenance.code`.

    Returns:
        Run id → e.g. `criteria/mine.py, torch 2.14.0`; runs that do not differ are missing.
    """
    by_role: dict[str, Counter[str]] = defaultdict(Counter)
    for own in codes.values():
        for role, code in own.items():
            by_role[role][code] += 1
    texts = {(role, code): text for role, counts in by_role.items() for code, text in _differing(counts, versions)}
    found = {}
    for run, own in codes.items():
        names = [name for role, code in own.items() for name in texts.get((role, code), ())]
        if names:
            shown = list(dict.fromkeys(names))
            found[run] = ", ".join([*shown[:_MOST_NAMED], *(["…"] if len(shown) > _MOST_NAMED else [])])
    return found


def redone_table(provenance: Provenance, runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return one row per occasion on which results were moved aside to be made anew.

    `primary, before → now` is the mean over the confirm runs among them that have a value both times.
    """
    now = runs.set_index("run_id")[_primary(plan)] if _primary(plan) in runs else pd.Series(dtype=float)
    rows = []
    for aside in provenance.aside:
        if aside["kind"] != _REDO:
            continue
        values = {
            run["run_id"]: run["metrics"][_primary(plan)]
            for run in aside["runs"]
            if run["phase"] == Phase.CONFIRM and _primary(plan) in run["metrics"]
        }
        pairs = pd.DataFrame({"before": pd.Series(values, dtype=float), "now": now.reindex(list(values))}).dropna()
        change = f"{pairs['before'].mean():.2f} → {pairs['now'].mean():.2f}" if len(pairs) else "–"
        moved = pairs["now"].mean() - pairs["before"].mean()
        rows.append(
            {
                "when (UTC)": _when(aside),
                "what": aside["what"],
                "runs": str(len(aside["runs"])),
                "by": aside["by"],
                "primary, before → now": f"{change} ({signed(moved)} pp)" if len(pairs) else change,
                "why": aside["why"] or "no reason was given",
            }
        )
    return pd.DataFrame(rows)


def redone_sentences(provenance: Provenance) -> list[str]:
    """Say how many confirm runs were made anew after their results had been there."""
    seen = {
        run["run_id"]: str(run["arm"])
        for aside in provenance.aside
        if aside["kind"] == _REDO
        for run in aside["runs"]
        if run["phase"] == Phase.CONFIRM and run["metrics"]
    }
    if not seen:
        return []
    arms = ", ".join(dict.fromkeys(seen.values()))
    sentence = (
        f"Made anew after {len(seen)} confirm run{'s' if len(seen) > 1 else ''} of {arms} had results, which are kept"
        " in the folder aside; when, why, and what changed is in the table of what was made anew."
    )
    return [sentence]


def accepted_sentences(provenance: Provenance) -> list[str]:
    """Say which results were kept although the code had changed."""
    return [
        f"Kept on {_when(aside)} UTC although the code had changed since (--accept-code-change): "
        f"{'; '.join(line.strip(' -') for line in aside['what'].splitlines())}."
        for aside in provenance.aside
        if aside["kind"] == _ACCEPTED
    ]


def _when(aside: Mapping[str, Any]) -> str:
    return f"{datetime.fromtimestamp(aside['t'], UTC):%Y-%m-%d %H:%M}"


def _differing(counts: Counter[str], versions: Mapping[str, Version]) -> list[tuple[str, list[str]]]:
    """For every code of one role, in what it differs from most runs of that role."""
    unknown = Counter({code: n for code, n in counts.items() if code not in versions})
    usual_unknown = unknown.most_common(1)[0][0] if unknown else ""
    usual = {part: _usual(part, counts, versions) for part in ("files", "libraries")}
    found = []
    for code in counts:
        if code in versions:
            names = [path for path, text in versions[code]["files"].items() if usual["files"][path] != text]
            own = versions[code]["libraries"]
            names += [f"{name} {version}" for name, version in own.items() if usual["libraries"][name] != version]
        else:
            names = [] if code == usual_unknown and len(unknown) == len(counts) else [f"unknown code {code}"]
        found.append((code, names))
    return found


def _usual(part: str, counts: Counter[str], versions: Mapping[str, Version]) -> dict[str, str]:
    """The text of each file, or the version of each library, that most runs had."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for code, count in sorted(counts.items()):
        for name, value in versions.get(code, {}).get(part, {}).items():
            seen[name][value] += count
    return {name: values.most_common(1)[0][0] for name, values in seen.items()}


def _primary(plan: Plan) -> str:
    return f"test/{plan.primary}"
