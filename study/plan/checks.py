"""What the sections of a sweep file must agree on. A check is left out when a section that it needs is unreadable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from study import registry
from study.errors import Problem, did_you_mean, shown
from study.paths import RESERVED_NAMES
from study.plan.components import asked, build
from study.plan.model import Arm, Component
from study.plan.names import check_names
from study.plan.salvage import has
from study.plan.schema import UNREAD_SETTINGS, BaseIn, ConfirmIn, ContinuationIn, SweepIn, TuneIn
from study.plan.yaml_out import typed


def check_study(sweep: SweepIn, known_names: Callable[[str], Collection[str]], problems: list[Problem]) -> None:
    """The study's folder may not be one that the home or MLflow needs itself, and names stay names in tables."""
    named = {"study": ("study", sweep.study)} if has(sweep, "study") else {}
    taken = RESERVED_NAMES.get(sweep.study.casefold()) if named else None
    if taken is not None:
        alike = "" if sweep.study in RESERVED_NAMES else ", but for upper and lower case,"
        message = f"{sweep.study!r} is{alike} {taken}; write e.g. study-{sweep.study}"
        problems.append(Problem("study", message))
    for section, what in (("arms", "arm"), ("evaluations", "evaluation")):
        if has(sweep, section):
            named |= {f"{section}.{name}": (what, name) for name in getattr(sweep, section)}
    check_names(named, lambda: known_names(sweep.study) if has(sweep, "study") else (), problems)


def check_seeds(sweep: SweepIn, problems: list[Problem]) -> None:
    """Every seed counts once, and what was tuned on a base is not confirmed on it."""
    for phase in ("tune", "confirm"):
        if has(sweep, phase) and getattr(sweep, phase) is not None:
            for level in ("base_seeds", "continuation_seeds"):
                twice = sorted(seed for seed, n in Counter(getattr(getattr(sweep, phase), level)).items() if n > 1)
                if twice:
                    message = f"every seed counts once, but {shown(twice)} stand there more than once; keep one of each"
                    problems.append(Problem(f"{phase}.{level}", message))
    if has(sweep, "confirm") and sweep.unit == "continuation" and len(sweep.confirm.base_seeds) > 1:
        message = (
            f"unit: continuation compares runs of one checkpoint, but there are {shown(sweep.confirm.base_seeds)}; "
            "keep one, or write unit: base"
        )
        problems.append(Problem("confirm.base_seeds", message))
    if has(sweep, "tune", "confirm") and sweep.tune is not None:
        _check_fresh(sweep.tune, sweep.confirm, sweep.unit, problems)


def _check_fresh(tune: TuneIn, confirm: ConfirmIn, unit: str, problems: list[Problem]) -> None:
    """What was tuned on a unit is not confirmed on it."""
    level = "base_seeds" if unit == "base" else "continuation_seeds"
    tuned, confirmed = getattr(tune, level), getattr(confirm, level)
    shared = sorted(set(tuned) & set(confirmed))
    if shared:
        what = "base" if unit == "base" else "continuation seed"
        message = (
            f"tune and confirm share {what.removesuffix(' seed')} seeds {shown(shared)}; what was tuned on a {what} "
            f"cannot be confirmed on it; take other seeds than tune's {shown(tuned)}"
        )
        problems.append(Problem(f"confirm.{level}", message))
    if unit == "continuation" and set(tune.base_seeds) != set(confirm.base_seeds):
        message = f"unit: continuation tunes the checkpoint that it confirms; write {typed(confirm.base_seeds)}"
        problems.append(Problem("tune.base_seeds", message))


def check_recipes(sweep: SweepIn, dataset: Component | None, problems: list[Problem]) -> None:
    """Batches, epochs and optimisers that can be trained with."""
    num_images = dataset.params.get("num_ssl_images") if dataset else None
    recipes = _recipes(sweep)
    for path, recipe in recipes.items():
        optimizer = recipe.optimizer
        if num_images is not None and recipe.batch_size > num_images:
            message = f"{recipe.batch_size} is more than the {num_images} SSL images; write at most {num_images}"
            problems.append(Problem(f"{path}.batch_size", message))
        for key in UNREAD_SETTINGS[optimizer.name]:
            if key in optimizer.model_fields_set:
                problems.append(Problem(f"{path}.optimizer.{key}", f"{optimizer.name} has no {key}; leave it out"))
        if optimizer.warmup_epochs > recipe.epochs:
            message = f"{optimizer.warmup_epochs} is more than the {recipe.epochs} epochs of {path}; write at most that"
            problems.append(Problem(f"{path}.optimizer.warmup_epochs", message))
    if has(sweep, "numerics") and sweep.numerics.micro_batch_size is not None:
        size = sweep.numerics.micro_batch_size
        common = math.gcd(*(recipe.batch_size for recipe in recipes.values()))
        fits = next((n for n in range(min(size, common), 1, -1) if common % n == 0), None)
        for path, recipe in recipes.items():
            if recipe.batch_size % size:
                message = f"{size} does not divide {path}.batch_size {recipe.batch_size}; "
                message += f"write {fits}" if fits else "change that, too"
                problems.append(Problem("numerics.micro_batch_size", message))
    if len(recipes) == 2:
        first, then = recipes["base"].optimizer, sweep.continuation.optimizer
        for key in ("name", "exclude_bias_and_norm") if then.state == "keep" else ():
            before, after = getattr(first, key), getattr(then, key)
            if before != after:
                message = (
                    f"{key} {shown(after)} cannot keep the state of the base's {shown(before)}; write reset, "
                    "or use the same for both"
                )
                problems.append(Problem("continuation.optimizer.state", message))


def _recipes(sweep: SweepIn) -> dict[str, BaseIn | ContinuationIn]:
    """What is trained, by its place in the file, as far as it could be read."""
    found: dict[str, BaseIn | ContinuationIn] = {}
    if has(sweep, "base") and isinstance(sweep.base, BaseIn):
        found["base"] = sweep.base
    if has(sweep, "continuation"):
        found["continuation"] = sweep.continuation
    return found


def check_sizes(sweep: SweepIn, arms: Sequence[Arm], problems: list[Problem]) -> None:
    """Batches large enough for every arm's criterion."""
    if not has(sweep, "continuation"):
        return
    said: set[str] = set()  # once of an arm, not of everything that is generated from it as well
    for arm in arms:
        try:
            check_batch = build("criteria", arm.criterion).check_batch
            asked(partial(check_batch, sweep.continuation.batch_size), "criteria", arm.criterion.name)
        except ValueError as error:
            if arm.parent is None or str(error) not in said:
                problems.append(Problem(f"arms.{arm.name}", str(error)))
            said.add(str(error))


def check_search(sweep: SweepIn, arms: Sequence[Arm], problems: list[Problem]) -> None:
    """A section that sets up searches has something to search."""
    if has(sweep, "tune", "arms") and sweep.tune is not None and not problems and not any(a.space for a in arms):
        problems.append(Problem("tune", "no arm has anything to search; write tune: none"))


def check_views(
    dataset: Component | None, method: Component | None, backbone: Component | None, augmentation: Component | None,
    problems: list[Problem],
) -> None:  # fmt: skip
    """Local views need a method that uses them and a backbone that takes their size."""
    if augmentation is None or build("augmentations", augmentation).num_views <= 2:
        return
    full_size = build("datasets", dataset).image_size if dataset else None
    local_size = augmentation.params.get("local_size")
    if full_size is not None and local_size is not None and local_size >= full_size:
        message = f"must be below the images' {full_size} pixels, but got {local_size}"
        problems.append(Problem("augmentation.local_size", message))
    path = "augmentation.num_local_views"
    for family, component, flag, why in (
        ("methods", method, "accepts_local_views", "compares two full-size views alone"),
        ("backbones", backbone, "accepts_any_size", "takes images of one size alone"),
    ):
        if component is not None and not getattr(registry.component(family, component.name), flag):
            known = [name for name, cls in registry.usable(family) if getattr(cls, flag)]
            message = f"base.{family[:-1]} {component.name} {why}; write 0, or use {' or '.join(known)}"
            problems.append(Problem(path, message))


def check_comparison(sweep: SweepIn, raw: Mapping[str, Any], arms: Sequence[Arm], problems: list[Problem]) -> None:
    """Reference and contrasts name arms, and each contrast stands there once."""
    if not has(sweep, "arms"):
        return
    names = {*map(str, raw["arms"]), *(arm.name for arm in arms)}
    is_unreadable = len(sweep.arms) < len(raw["arms"]) or (raw.get("ablate") and not sweep.ablate)
    is_complete = not is_unreadable and not any(p.path.startswith(("arms", "ablate")) for p in problems)

    def check(path: str, name: str) -> None:
        may_be_generated = not is_complete and name.startswith(tuple(f"{arm}-" for arm in raw["arms"]))
        if name not in names and not may_be_generated:
            problems.append(Problem(path, f"no arm {name!r}.{did_you_mean(name, names)}"))

    if has(sweep, "reference"):
        check("reference", sweep.reference)
    seen = set()
    for index, (a, b) in enumerate(sweep.contrasts):
        path = f"contrasts[{index}]"
        for name in dict.fromkeys((a, b)):
            check(path, name)
        if a == b:
            problems.append(Problem(path, f"{a!r} is compared with itself; leave it out, or write another arm"))
        if frozenset((a, b)) in seen:
            problems.append(
                Problem(path, f"[{a}, {b}] is declared twice, and a family counts each contrast once; keep one")
            )
        seen.add(frozenset((a, b)))
