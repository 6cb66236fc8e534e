"""Sweep text → Plan. Every problem of a file is found before anything is reported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from study.errors import PlanError, Problem
from study.plan import arms, blocks, checks, components, evaluations, imports, overrides, salvage, tuning, yaml_text
from study.plan.model import Arm, Component, Confirm, Plan, PlannedEvaluation, Recipe, Tune
from study.plan.schema import UNREAD_SETTINGS, BaseIn, ComponentIn, ImportedBaseIn, SweepIn
from study.plan.wording import is_about

KnownNames = Callable[[str], Collection[str]]


def load_plans(
    text: str, source: str, overrides_given: Sequence[str] = (), known_names: KnownNames = lambda _study: ()
) -> list[Plan]:
    """Turn the text of a sweep file and `key=value` overrides into plans: one, or one per block.

    Args:
        text: YAML.
        source: what to call the file in errors.
        overrides_given: dotted `key=value` strings; the value is YAML.
        known_names: name of a study → names that it uses already, if it was begun before; those stay allowed.

    Raises:
        PlanError: anything wrong with the file or the overrides; carries all problems at once.
    """
    problems: list[Problem] = []
    raw = overrides.apply(yaml_text.parse(text, source, problems), overrides_given, problems)
    made = blocks.block_overrides(raw, problems)
    for key in (blocks.KEY, blocks.DESIGN):
        raw.pop(key, None)
    plans: list[Plan] = []
    found = [overrides.blame(problem, overrides_given) for problem in problems]
    for block in made:
        own: list[Problem] = []
        plan = _load(overrides.apply(raw, block, own), own, problems, known_names)
        found += [overrides.blame(problem, (*overrides_given, *block)) for problem in own]
        if plan is not None:
            plans.append(plan)
    if found:
        named = f"{source} with {' '.join(overrides_given)}" if overrides_given else source
        raise PlanError(named, list(dict.fromkeys(found)))
    return plans


def load_plan(text: str, source: str, overrides_given: Sequence[str] = ()) -> Plan:
    """The plan of a sweep file without blocks; see `load_plans`."""
    (plan,) = load_plans(text, source, overrides_given)
    return plan


def _load(
    raw: Mapping[str, Any], problems: list[Problem], known: Sequence[Problem], known_names: KnownNames
) -> Plan | None:
    """The plan of raw keys; None after adding to `problems`, which leaves out what follows from `known` ones."""
    sweep = salvage.read_sweep(raw, problems)
    meaning: list[Problem] = []
    checks.check_study(sweep, known_names, meaning)
    plan = _resolve(sweep, raw, meaning)
    if plan is not None:
        plan = tuning.with_overrides(plan, sweep, raw, lambda keys, found: _load(keys, found, (), known_names), meaning)
    unreadable = [problem.path for problem in (*known, *problems)]
    problems += [p for p in meaning if not any(p.path and path and is_about(p.path, path) for path in unreadable)]
    return None if problems else plan


def _resolve(sweep: SweepIn, raw: Mapping[str, Any], problems: list[Problem]) -> Plan | None:
    """The plan; None when components or sections are missing, or anything was added to `problems`."""
    has_base = salvage.has(sweep, "base")
    dataset = _component("datasets", sweep.dataset, "dataset", problems) if salvage.has(sweep, "dataset") else None
    method = _component("methods", sweep.base.method, "base.method", problems) if has_base else None
    backbone = _component("backbones", sweep.base.backbone, "base.backbone", problems) if has_base else None
    augmentation = _component("augmentations", sweep.augmentation, "augmentation", problems)
    checks.check_views(dataset, method, backbone, augmentation, problems)
    if has_base and isinstance(sweep.base, ImportedBaseIn):
        imports.check_import(sweep, sweep.base, backbone, problems)
    planned = evaluations.resolve(sweep, raw, problems)
    checks.check_seeds(sweep, problems)
    checks.check_recipes(sweep, dataset, problems)
    all_arms = arms.resolve(sweep, raw, problems)
    checks.check_sizes(sweep, all_arms, problems)
    evaluations.check_data(planned, dataset, backbone, problems)
    checks.check_comparison(sweep, raw, all_arms, problems)
    checks.check_search(sweep, all_arms, problems)
    is_whole = salvage.has(sweep, *SweepIn.model_fields)
    if problems or not is_whole or not (dataset and method and backbone and augmentation):
        return None
    return _plan(sweep, dataset, method, backbone, augmentation, planned, all_arms)


def _plan(
    sweep: SweepIn, dataset: Component, method: Component, backbone: Component, augmentation: Component,
    planned: Sequence[PlannedEvaluation], all_arms: Sequence[Arm],
) -> Plan:  # fmt: skip
    return Plan(
        study=sweep.study,
        question=sweep.question,
        dataset=dataset,
        method=method,
        backbone=backbone,
        augmentation=augmentation,
        pretraining=_pretraining(sweep.base),
        imported=imports.imported(sweep.base, sweep) if isinstance(sweep.base, ImportedBaseIn) else None,
        continuation=Recipe(
            sweep.continuation.epochs, sweep.continuation.batch_size, _optimizer(sweep.continuation.optimizer)
        ),
        arms=tuple(all_arms),
        reference=sweep.reference,
        unit=sweep.unit,
        test=sweep.test,
        contrasts=tuple((a, b) for a, b in sweep.contrasts),
        evaluations=tuple(planned),
        primary=sweep.primary,
        equivalence_margin_pp=sweep.equivalence_margin_pp,
        tune=_tune(sweep),
        confirm=Confirm(tuple(sweep.confirm.base_seeds), tuple(sweep.confirm.continuation_seeds)),
        numerics=sweep.numerics.as_identity(),
    )  # fmt: skip


def _pretraining(base: BaseIn | ImportedBaseIn) -> Recipe:
    if isinstance(base, ImportedBaseIn):
        return Recipe(0, 0, {})
    return Recipe(base.epochs, base.batch_size, _optimizer(base.optimizer))


def _tune(sweep: SweepIn) -> Tune:
    given = sweep.tune
    if given is None:
        return Tune(sweep.primary, 0, (), (), "random")
    seeds = (tuple(given.base_seeds), tuple(given.continuation_seeds))
    return Tune(given.objective, given.trials_per_arm, *seeds, given.sampler, given.pruning)


def _component(family: str, given: ComponentIn, path: str, problems: list[Problem]) -> Component | None:
    found = components.resolve(family, given.name, given.fields_given, path, problems)
    return found[0] if found else None


def _optimizer(given: BaseModel) -> dict[str, Any]:
    """The optimiser's settings without those it does not read, which would be part of the identity for nothing."""
    settings = given.model_dump()
    return {key: value for key, value in settings.items() if key not in UNREAD_SETTINGS[settings["name"]]}
