"""The plan: the validated, immutable study. Plain frozen dataclasses; the YAML schema lives in `schema`.

`as_json` is what `plan.json` holds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from study.errors import JournalError
from study.plan.component import Component as Component  # noqa: PLC0414 - part of the plan
from study.plan.component import PlannedEvaluation as PlannedEvaluation  # noqa: PLC0414 - part of the plan
from study.plan.space import FloatRange

SCHEMA_VERSION = 1


class Phase(StrEnum):
    """What a run is for."""

    PREPARE = "prepare"
    TUNE = "tune"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class Recipe:
    """How long and with which optimiser something is trained.

    Attributes:
        epochs: passes over the SSL images; 0 trains nothing.
        batch_size: images per step; the incomplete last batch of an epoch is dropped.
        optimizer: `name`, `lr`, `weight_decay`, …, `schedule`, `warmup_epochs`; for continuations also
            `state`: `reset` starts with a fresh optimiser, `keep` loads the base's.
    """

    epochs: int
    batch_size: int
    optimizer: Mapping[str, Any]


@dataclass(frozen=True)
class Imported:
    """The published checkpoint that is the base model.

    Attributes:
        checkpoint: path or address; no part of any identity.
        family: a file name of `study/pretrained/`.
        sha256: hash of the file (hex); None until it is known, which it is before a study starts.
        moments: what decides which of the optimiser's moments are kept, `name` and `exclude_bias_and_norm`; None: the
            continuation resets them.
    """

    checkpoint: str
    family: str
    sha256: str | None
    moments: Mapping[str, Any] | None = None

    def as_identity(self) -> dict[str, Any]:
        """What decides the weights."""
        return {"family": self.family, "sha256": self.sha256, "moments": self.moments and dict(self.moments)}


@dataclass(frozen=True)
class Arm:
    """One alternative being compared.

    Attributes:
        name: unique within the study.
        continued: False for the arm that is not continued at all.
        criterion: the criterion with its fixed fields; tuned fields hold their start value.
        strength: norm of the criterion's gradient at the projections on the first batch, relative to that of the base
            loss; None leaves it to the criterion's weights.
        space: dotted name → range, e.g. `criterion.weight`, `strength`, `continuation.optimizer.lr`; empty when
            nothing is tuned.
        start: dotted name → value of trial 0; same keys as `space`.
        parent: the arm this one was generated from.
        dropped: the components of the parent's criterion that are switched off.
        swapped: the fields of the parent's criterion that have another value.
        inherits: the parent's winner is used instead of an own search.
    """

    name: str
    continued: bool
    criterion: Component
    strength: float | None = None
    space: Mapping[str, FloatRange] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    dropped: tuple[str, ...] = ()
    swapped: Mapping[str, Any] = field(default_factory=dict)
    inherits: bool = False

    @property
    def is_tuned(self) -> bool:
        """Whether the arm has a search of its own."""
        return self.continued and not self.inherits and bool(self.space)


@dataclass(frozen=True)
class Tune:
    """The searches: one per tuned arm, equal budgets, on the validation split.

    Without searches there are no trials and no seeds: every arm runs at its start values.

    Attributes:
        dataset: what the trials train on and are judged on, where that is not the plan's dataset.
        continuation: how they are continued, where that is not the plan's continuation.
    """

    objective: str
    trials_per_arm: int
    base_seeds: tuple[int, ...]
    continuation_seeds: tuple[int, ...]
    sampler: str
    pruning: str = "none"
    dataset: Component | None = None
    continuation: Recipe | None = None


@dataclass(frozen=True)
class Confirm:
    """Fresh seeds on which each arm's winner is judged, on the test split."""

    base_seeds: tuple[int, ...]
    continuation_seeds: tuple[int, ...]


@dataclass(frozen=True)
class Amendment:
    """Seeds were added to a study that existed.

    Attributes:
        t: when, seconds since the epoch.
        before: the confirming seeds until then.
        num_seen: confirming runs whose results existed by then.
    """

    t: float
    before: Confirm
    num_seen: int


@dataclass(frozen=True)
class Plan:
    """The validated study; see the sweep file for the meaning of each key.

    Attributes:
        unit: what counts as independent: `base`, or `continuation`, whose statements are about one checkpoint.
        test: what the p-values of the contrasts come from: `paired_t`, or the exact `sign_flip`.
        amendments: what was added later; the sweep file says nothing of it.
        imported: where the base models come from when they are not trained here; `pretraining` is then empty.
    """

    study: str
    question: str
    dataset: Component
    method: Component
    backbone: Component
    augmentation: Component
    pretraining: Recipe
    continuation: Recipe
    arms: tuple[Arm, ...]
    reference: str
    unit: str
    contrasts: tuple[tuple[str, str], ...]
    evaluations: tuple[PlannedEvaluation, ...]
    primary: str
    equivalence_margin_pp: float | None
    tune: Tune
    confirm: Confirm
    numerics: Mapping[str, Any]
    test: str = "paired_t"
    amendments: tuple[Amendment, ...] = ()
    schema_version: int = SCHEMA_VERSION
    imported: Imported | None = None

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """What has been made from this plan, kept by those who make it; no part of what the plan says."""
        return {}

    def arm(self, name: str) -> Arm:
        """The arm called `name`; KeyError when there is none."""
        return {arm.name: arm for arm in self.arms}[name]

    @property
    def base_seeds(self) -> tuple[int, ...]:
        """Seeds of all base models that are needed, those of the searches first."""
        searched = self.tune.base_seeds if any(arm.is_tuned for arm in self.arms) else ()
        return tuple(dict.fromkeys((*searched, *self.confirm.base_seeds)))

    def during(self, phase: Phase) -> Plan:
        """The plan with the dataset and the continuation of a phase's runs; the base models are not its own."""
        if phase is not Phase.TUNE:
            return self
        own = self.tune
        return replace(self, dataset=own.dataset or self.dataset, continuation=own.continuation or self.continuation)

    def before_the_first_look(self) -> Plan | None:
        """The plan without the seeds that were added after results had been seen; None when there are none."""
        looked = next((a for a in self.amendments if a.num_seen), None)
        return None if looked is None else replace(self, confirm=looked.before, amendments=())

    def continuation_seeds(self, arm: Arm, phase: Phase) -> tuple[int, ...]:
        """The continuation seeds of an arm's runs of a phase.

        An arm that is not continued has one run per base, with seed 0, unless the continuation is the unit: label draws
        then differ between units, and so do its evaluations.
        """
        seeds = self.tune if phase is Phase.TUNE else self.confirm
        return seeds.continuation_seeds if arm.continued or self.unit == "continuation" else (0,)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Inverse of `as_json` after a round trip through JSON.

        Raises:
            JournalError: the data are not a plan of this schema version.
        """
        require_version(data, f"the plan of study {data.get('study')!r}")
        try:
            return cls(**{**data, **_typed(data)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(f"the plan of study {data.get('study')!r} is damaged ({error!r})") from error


def _typed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a plan that are more than scalars, from plain dicts and lists."""
    components = {name: Component(**data[name]) for name in ("dataset", "method", "backbone", "augmentation")}
    recipes = {name: Recipe(**data[name]) for name in ("pretraining", "continuation")}
    imported = data.get("imported")
    seeds = {name: tuple(data["tune"][name]) for name in ("base_seeds", "continuation_seeds")}
    return {
        **components,
        **recipes,
        "imported": None if imported is None else Imported(**imported),
        "arms": tuple(_arm(arm) for arm in data["arms"]),
        "contrasts": tuple((a, b) for a, b in data["contrasts"]),
        "evaluations": tuple(PlannedEvaluation.from_json(e) for e in data["evaluations"]),
        "tune": _tune({**data["tune"], **seeds}),
        "confirm": _confirm(data["confirm"]),
        "amendments": tuple(
            Amendment(a["t"], _confirm(a["before"]), a["num_seen"]) for a in data.get("amendments", ())
        ),
    }


def _tune(data: Mapping[str, Any]) -> Tune:
    own = {"dataset": Component, "continuation": Recipe}
    return Tune(**{**data, **{key: kind(**data[key]) for key, kind in own.items() if data.get(key) is not None}})


def _confirm(data: Mapping[str, Any]) -> Confirm:
    return Confirm(**{name: tuple(seeds) for name, seeds in data.items()})


def require_version(data: Mapping[str, Any], what: str) -> None:
    """Raise JournalError when `data`, called `what`, were written with another version of the schema."""
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        message = f"{what} has schema version {version}, but this code reads version {SCHEMA_VERSION}"
        raise JournalError(f"{message}; use the code that wrote it")


def _arm(data: Mapping[str, Any]) -> Arm:
    return Arm(
        **{
            **data,
            "criterion": Component(**data["criterion"]),
            "space": {name: FloatRange(**r) for name, r in data["space"].items()},
            "dropped": tuple(data["dropped"]),
        }
    )
