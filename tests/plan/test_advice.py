"""Every piece of advice is taken, to the letter: what a message says to write loads, or at least mends that place."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.errors import PlanError
from study.plan.load import load_plans
from study.plan.site import load_site
from study.plan.yaml_out import Dumper
from study.plan.yaml_text import parse, parse_scalar
from tests.fakes.sweep_file import DELETED, TEXT, edited

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "study" / "plan"
E2MC = {"criterion": "e2mc", "start": {"entropy_weight": 0.5, "covariance_weight": 0.5}}
UNIFORMITY = {"criterion": "uniformity", "start": {"weight": 0.5}}
RANGE = {"low": 0.1, "high": 10.0, "log": True}
LR = "continuation.optimizer.lr"
VICREG = {
    "method": "vicreg",
    "backbone": {"name": "resnet18", "stem": "imagenet"},
    "checkpoint": "x",
    "family": "vicreg",
}
IMPORTED = {"base": VICREG, "unit": "continuation", "confirm": {"base_seeds": [1], "continuation_seeds": [1, 2]},
            "tune": "none", "ablate": DELETED, "contrasts": []}  # fmt: skip
Data = dict[str, Any]
Act = Callable[[Data, str, re.Match[str]], None]


def place_of(data: Data, path: str) -> tuple[Any, Any]:
    """The container and the key of a dotted path; keys may hold dots themselves, and sections on the way are made."""
    where: Any = data
    parts: list[Any] = [int(p) if p.isdecimal() else p for p in re.findall(r"[^.\[\]]+", path)]
    while len(parts) > 1:
        if isinstance(where, list):
            key, width = parts[0], 1
        else:
            joined = {width: ".".join(map(str, parts[:width])) for width in range(len(parts), 0, -1)}
            width, key = next(((w, k) for w, k in joined.items() if k in where), (1, parts[0]))
        if width == len(parts):
            return where, key
        if isinstance(where, dict):
            inner = where.get(key)
            where[key] = {"name": inner} if isinstance(inner, str) else {} if inner is None else inner
        where, parts = where[key], parts[width:]
    return where, parts[0]


def put(data: Data, path: str, value: Any) -> None:
    """Set what stands at a path."""
    where, key = place_of(data, path)
    where[key] = value


def set_here(group: str = "value") -> Act:
    """Write the advised value at the place of the problem."""

    def act(data: Data, path: str, m: re.Match[str]) -> None:
        where, key = place_of(data, path)
        where[key] = parse_scalar(m[group])

    return act


def set_at(target: str, group: str = "value") -> Act:
    """Write the advised value at another place."""
    return lambda data, _path, m: put(data, target, parse_scalar(m[group]))


def constant(target: str, value: Any) -> Act:
    """Write what the advice leaves to the reader."""
    return lambda data, _path, _m: put(data, target, copy.deepcopy(value))


def leave_out(target: str = "") -> Act:
    """Remove what stands at the place of the problem, or at another."""

    def act(data: Data, path: str, _m: re.Match[str]) -> None:
        where, key = place_of(data, target or path)
        del where[key]

    return act


def rename(data: Data, path: str, m: re.Match[str]) -> None:
    """Call a key, or a value that is a name, what was meant."""
    where, key = place_of(data, path)
    if isinstance(where, list) or (isinstance(where.get(key), str) and where[key] == m["word"]):
        where[key] = m["near"]
    else:
        where[m["near"]] = where.pop(m["word"] if m["word"] in where else key)


def both(*acts: Act) -> Act:
    """One after another."""
    return lambda data, path, m: [act(data, path, m) for act in acts] and None


NEAR = r"'(?P<word>[^']+)'.* Did you mean '(?P<near>[^']+)'\?"


@dataclass(frozen=True)
class Row:
    """A fault, the place and the advice that the message gives, and what a reader does about it.

    Attributes:
        changes: see `edited`.
        path: where the problem must be.
        advice: what its message must match.
        act: follows the advice.
        then: whether the whole file must load afterwards; else this problem is gone.
    """

    changes: Data
    path: str
    advice: str
    act: Act
    then: bool = True
    overrides: tuple[str, ...] = field(default=())


def one(path: str, advice: str, act: Act, *, then: bool = True, **changes: Any) -> Row:
    return Row(changes, path, advice, act, then)


ROWS = [
    # names
    one("study", "write a name, e.g. (?P<value>my-study)", set_here(), study=5),
    one("study", "write e.g. (?P<value>study-nan)", set_here(), study="nan"),
    one("study", "write e.g. (?P<value>study-bases)", set_here(), study="bases"),
    one("arms.1e3", "'(?P<word>1e3)' reads as a number in tables; write e.g. (?P<near>arm-1e3)", rename,
        arms__1e3={"criterion": "uniformity", "start": {"weight": 1.0}}),
    one("evaluations.NA", "'(?P<word>NA)' reads as a missing value in tables; write e.g. (?P<near>evaluation-NA)",
        rename,
        evaluations__NA={"evaluation": "knn"}),
    one("arms.a b", "may hold letters, digits, - and _", both(lambda d, p,
        m: d["arms"].update(a_b=d["arms"].pop("a b"))),
        **{"arms__a b": {"criterion": "none"}}),
    # keys and values of the schema
    one("question", "write it in quotes", lambda d, p, m: d.update(question=str(d["question"])), question=1000.0),
    one("base.epochs", "must be a whole number, but got 20.0; write (?P<value>20)", set_here(), base__epochs=20.0),
    one("bese", f"unknown key {NEAR}", rename, bese={"method": "simsiam", "backbone": "conv_fc", "epochs": 3},
        base=DELETED),
    one("base", "is missing; is '(?P<near>bese)' meant", lambda d, p, m: d.update(base=d.pop(m["near"])),
        bese={"method": "simsiam", "backbone": "conv_fc", "epochs": 3}, base=DELETED),
    one("unit", "must be '(?P<value>base)' or 'continuation'", set_here(), unit="bases"),
    one("dataset.name", "is missing; write one of .*(?P<value>fashion_mnist)", set_here(),
        dataset={"num_ssl_images": 5000},
        then=False),
    one("arms.e2mc.space.epsilon.low", "is missing; write both bounds, e.g. (?P<value>{.*})",
        set_at("arms.e2mc.space.epsilon"), then=False, arms__e2mc={**E2MC, "space": {"epsilon": {"high": 1.0}}}),
    one("arms.e2mc.generated.from", "is missing; write the arm that it was made from, or leave generated out",
        leave_out("arms.e2mc.generated"), arms__e2mc={**E2MC, "generated": {}}),
    one("base.family", "is missing; see (?P<file>sweeps/imagenet_vicreg.yaml)", lambda d, p, m: put(d, p, shown_in(m,
        p)),
        **{**IMPORTED, "base": {k: v for k, v in VICREG.items() if k != "family"}}),
    one("base.epochs", "leave it out, or leave checkpoint and family out", leave_out(),
        **{**IMPORTED, "base": {**VICREG, "epochs": 3}}),
    one("base.epochs", "leave it out, or leave (?P<a>checkpoint) and (?P<b>family) out",
        lambda d, p, m: [d["base"].pop(m[k]) for k in "ab"] and None,
        **{**IMPORTED, "base": {**VICREG, "epochs": 3}, "unit": "base"}),
    # components
    one("arms.e2mc.criterion", f"no {NEAR}", rename, arms__e2mc__criterion="e2mcc"),
    one("arms.e2mc.epsilo", f"has no field {NEAR}", rename, arms__e2mc={**E2MC, "epsilo": 1e-6}),
    one("arms.e2mc.map", "must be '(?P<value>normal)' or 'sigmoid'", set_here(), arms__e2mc={**E2MC, "map": "norm"}),
    one("dataset", "num_ssl_images must be >= (?P<value>1)", set_at("dataset.num_ssl_images"), then=False,
        dataset__num_ssl_images=0),
    one("dataset", "needs a value for '(?P<key>num_ssl_images)'", constant("dataset.num_ssl_images", 100), then=False,
        dataset={"name": "image_folder", "num_validation_images": 10}),
    one("evaluations.own.evaluation", f"no {NEAR}", rename, evaluations__own={"evaluation": "knnn"}),
    one("evaluations.own.evaluation", "must be a name", constant("evaluations.own.evaluation", "knn"),
        evaluations__own={"evaluation": 3}),
    one("evaluations.a b", "may hold letters, digits, - and _", lambda d, p, m: d["evaluations"].pop("a b") and None,
        **{"evaluations__a b": {"evaluation": "knn"}}),
    # arms
    one("arms", r"no arm is left as it is; add  (?P<key>\S+): (?P<value>{continue: false})",
        lambda d, p, m: d["arms"].update({m["key"]: parse_scalar(m["value"])}), arms__base={"criterion": "none"}),
    one("arms", r"continued without add-on; add  (?P<key>\S+): (?P<value>{criterion: none})",
        lambda d, p, m: d["arms"].update({m["key"]: parse_scalar(m["value"])}), arms__continued=UNIFORMITY),
    one("arms.base.criterion", "an arm with continue: false has no criterion to set up; leave it out", leave_out(),
        arms__base={"continue": False, "criterion": "none"}),
    one("arms.x", r"needs a criterion \((?P<value>\w+), .*or continue: false", set_at("arms.x.criterion"),
        arms__x={"weight": 1.0},
        then=False),
    one("arms.x", "Is '(?P<near>criterion)' meant by '(?P<word>criterium)'", lambda d, p, m: d["arms"].update(
        x={m["near"]: d["arms"]["x"][m["word"]]}), arms__x={"criterium": "uniformity"}),
    one("arms.e2mc.start.epsilon",
        "is not tuned, so it has no start; write (?P<key>epsilon): (?P<value>.*) beside criterion",
        both(leave_out(), set_at("arms.e2mc.epsilon")), arms__e2mc={"criterion": "e2mc", "start": {"epsilon": 3e-7}}),
    one("arms.e2mc.start.num_rotations", "write (?P<key>num_rotations): (?P<value>.*) beside criterion",
        both(leave_out(), set_at("arms.e2mc.num_rotations")), arms__e2mc={**E2MC, "start": {"num_rotations": 3}}),
    one("arms.e2mc.start.entropy_weight", "stands among the fixed fields too; keep one", leave_out(),
        arms__e2mc={**E2MC, "entropy_weight": 1.0}),
    one("arms.e2mc.start.entropy_weight",
        r"trial 0 starts at 99999, outside of its range \[(?P<value>[^,]+), .*; write a value",
        set_here(), arms__e2mc__start__entropy_weight=99999.0),
    one("arms.e2mc.start.entropy_weight", r"outside of its range \[(?P<value>[^,]+), 1\.0000000000000003e-05\]; write",
        set_here(),
        arms__e2mc={**E2MC, "start": {"entropy_weight": 1.0},
                    "space": {"entropy_weight": {"low": 1.2345678901e-7, "high": 1.0000000000000002e-05}}}),
    one(LR, r"outside of its range \[(?P<value>[^,]+), .*\]; write a value in it, or widen the range", set_here(),
        continuation__optimizer__lr=1.0),
    one("arms.e2mc.space.entropy_wait", f"has no field {NEAR}", rename, arms__e2mc={**E2MC,
        "space": {"entropy_wait": RANGE}},
        then=False),
    one("arms.e2mc.space.num_rotation", "Known: (?!.*num_rotations)", leave_out(),
        arms__e2mc={"criterion": "e2mc", "space": {"num_rotation": RANGE, "entropy_weight": RANGE}}),
    one("arms.e2mc.space.map", "is normal, and a search samples real numbers alone; leave it out", leave_out(),
        arms__e2mc={"criterion": "e2mc", "space": {"map": RANGE, "entropy_weight": RANGE}}),
    one("arms.e2mc.space.epsilon", "is fixed in the same arm; move its value to start",
        lambda d, p, m: d["arms"]["e2mc"]["start"].update(epsilon=d["arms"]["e2mc"].pop("epsilon")),
        arms__e2mc={"criterion": "e2mc", "epsilon": 1.0, "start": {}, "space": {"epsilon": RANGE}}),
    one("arms.e2mc.space.entropy_weight", "low < high must hold.*; write (?P<value>{.*})", set_here(),
        arms__e2mc={"criterion": "e2mc", "space": {"entropy_weight": {"low": 10.0, "high": 0.1, "log": True}}}),
    one("arms.e2mc.space.entropy_weight",
        "to fix it, leave it out here and in start, and write (?P<key>entropy_weight): (?P<value>1) beside criterion",
        both(leave_out(), leave_out("arms.e2mc.start.entropy_weight"), set_at("arms.e2mc.entropy_weight")),
        arms__e2mc={**E2MC, "space": {"entropy_weight": {"low": 1, "high": 1}, "covariance_weight": RANGE}}),
    one("arms.e2mc.space.entropy_weight", "a log range needs low > 0.*; write (?P<value>{.*}), or a low above 0",
        set_here(),
        arms__e2mc={"criterion": "e2mc", "space": {"entropy_weight": {"low": 0, "high": 20, "log": True}}}),
    one("arms.e2mc.space.epsilon", "holds values that are refused: epsilon must be finite and > 0",
        constant("arms.e2mc.space.epsilon", {"low": 1e-7, "high": 1.0}),
        arms__e2mc={"criterion": "e2mc", "space": {"epsilon": {"low": 0, "high": 1}}}),
    one(f"tune.shared.{LR}", f"to fix it, leave it out here and write {LR}: (?P<value>.*)", both(leave_out(),
        set_at(LR)),
        tune__shared={LR: {"low": 0.0003, "high": 0.0003}}),
    one("tune.shared.optimizer.lr",
        f"'(?P<word>tune.shared.optimizer.lr)'|cannot be tuned. Did you mean '(?P<near>{LR})'",
        lambda d, p, m: d["tune"].update(shared={m["near"]: d["tune"]["shared"]["optimizer.lr"]}),
        tune__shared={"optimizer.lr": {"low": 3e-4, "high": 3e-3}}),
    one(f"tune.shared.{LR}.low", "must be above 0, but got 0", constant("tune.shared", {LR: {"low": 1e-5,
        "high": 1e-2}}),
        tune__shared={LR: {"low": 0, "high": 0.01}}),
    one("arms.e2mc.preset", f"has no preset {NEAR}", rename, arms__e2mc={**E2MC, "preset": "vicregg"}),
    one("arms.e2mc.space", "nothing is searched with tune: none; leave it out, or set up tune", leave_out(),
        arms__e2mc={**E2MC, "space": {"entropy_weight": RANGE}}, tune="none"),
    # strengths
    one("arms.continued.strength", "none adds nothing, so it has no strength; leave it out", leave_out(),
        arms__continued={"criterion": "none", "strength": 1.0}),
    one("arms.uniformity.start.strength", "must be above 0, but got 0", constant("arms.uniformity.start.strength", 1.0),
        arms__uniformity={"criterion": "uniformity", "start": {"strength": 0}}, then=False),
    one("arms.uniformity.strength", "whose (?P<key>weight) is 0; set one above 0", constant("arms.uniformity.weight",
        1.0),
        arms__uniformity={"criterion": "uniformity", "strength": 1.0, "weight": 0.0}, then=False),
    *(one(f"arms.uniformity{place}", "the strength takes its place, whatever its value; leave it out", leave_out(),
          arms__uniformity={"criterion": "uniformity", **arm})
      for place, arm in ((".weight", {"strength": 1.0, "weight": 2.0}),
                         (".start.weight", {"start": {"strength": 1.0, "weight": 2.0}}),
                         (".space.weight", {"start": {"strength": 1.0}, "space": {"weight": RANGE,
                         "strength": RANGE}}))),
    one("arms.uniformity.space.strength", "needs a value in start; write start: (?P<value>{.*})",
        set_at("arms.uniformity.start"),
        arms__uniformity={"criterion": "uniformity", "space": {"strength": RANGE}}),
    one("arms.uniformity.space.strength", "is fixed in the same arm; move its value to start",
        lambda d, p, m: d["arms"]["uniformity"].update(start={"strength": d["arms"]["uniformity"].pop("strength")}),
        arms__uniformity={"criterion": "uniformity", "strength": 1.0, "space": {"strength": RANGE}}),
    one("arms.uniformity.space.strength.low", "must be above 0, but got 0", constant("arms.uniformity.space.strength",
        RANGE),
        arms__uniformity={"criterion": "uniformity", "start": {"strength": 1.0}, "space": {"strength": {"low": 0,
        "high": 2}}}),
    # ablations
    one("ablate.arm", f"no arm {NEAR}", rename, ablate__arm="e2mcc"),
    one("ablate.arm", "no arm 'bas'.(?!.*Did you mean)", constant("ablate.arm", "e2mc"), ablate__arm="bas"),
    one("ablate", r"needs drop or add \(a list of components, or (?P<value>all)\)", set_at("ablate.drop"),
        ablate={"arm": "e2mc"}),
    one("ablate.drop[0]", f"has no component {NEAR}", rename, ablate__drop=["entropi"], contrasts=[]),
    one("ablate.drop[1]", "'entropy' stands there twice; keep one", leave_out(), ablate__drop=["entropy", "entropy"]),
    one("ablate.drop[1]", "all says that every component is meant; write drop: (?P<value>all)", set_at("ablate.drop"),
        ablate__drop=["entropy", "all"]),
    one("ablate.drop[0]", "has no entropy that could be left out; leave it out here", leave_out(), contrasts=[],
        arms__e2mc={"criterion": "e2mc", "entropy_weight": 0.0}),
    one("ablate.add[0]", "has no component but covariance; the arm would be its twin; leave it out here",
        leave_out("ablate.add"), ablate={"arm": "e2mc", "add": ["covariance"], "swap": {"map": "sigmoid"}},
        contrasts=[],
        arms__e2mc={"criterion": "e2mc", "entropy_weight": 0.0}),
    one("ablate.drop", "uniformity has no components to leave out", constant("ablate", []),
        ablate={"arm": "uniformity", "drop": "all"}, contrasts=[]),
    one("ablate.drop", "write (?P<key>weights): (?P<value>tuned), so that each has its own", set_at("ablate.weights"),
        ablate__weights="inherited", arms__e2mc={"criterion": "e2mc", "start": {"strength": 1.0}}),
    one("ablate.drop", r"search it \(start in place of strength, weights: tuned\), or set weights instead",
        lambda d, p, m: d["arms"]["e2mc"].update(start={"strength": d["arms"]["e2mc"].pop("strength")}),
        arms__e2mc={"criterion": "e2mc", "strength": 1.0}),
    one("ablate.swap.map", "has normal already; leave it out", leave_out(), ablate={"arm": "e2mc", "drop": "all",
        "swap": {"map": "normal"}}),
    one("ablate.swap.map", "holds no value; leave it out", leave_out(), ablate={"arm": "e2mc", "drop": "all",
        "swap": {"map": []}}),
    one("ablate.swap.bias_correction", "changes reported values alone, .*; leave it out", leave_out(),
        ablate={"arm": "e2mc", "drop": "all", "swap": {"bias_correction": "digamma"}}),
    one("arms.e2mc-no-entropy", "is declared and generated; rename the declared one",
        lambda d, p, m: d["arms"].update(mine=d["arms"].pop("e2mc-no-entropy")),
        **{"arms__e2mc-no-entropy": UNIFORMITY}),
    one("arms.e2mc-no-entropy", "is generated twice; keep one", lambda d, p, m: d["ablate"].pop(),
        ablate=[{"arm": "e2mc", "drop": "all"}, {"arm": "e2mc", "drop": ["entropy"]}]),
    one("arms.e2mc-only-covariance", "is the same as e2mc-no-entropy; keep one of them", leave_out("ablate.add"),
        ablate={"arm": "e2mc", "drop": "all", "add": ["covariance"]}),
    one("arms." + "x" * 75 + "-no-entropy", "is a name longer than 80 characters; give x{75} a shorter one",
        both(lambda d, p, m: d["arms"].update(y=d["arms"].pop("x" * 75)), constant("ablate.arm", "y")),
        **{"arms__" + "x" * 75: E2MC, "ablate": {"arm": "x" * 75, "drop": "all"}, "contrasts": []}),
    one("arms.e2mc.generated.from", f"no other arm {NEAR}", rename, then=False,
        arms__e2mc={**E2MC, "generated": {"from": "uniformitty"}}),
    one("arms.own.generated.dropped[0]",
        "entropy is not switched off in own; write (?P<key>entropy_weight): (?P<value>.*)",
        both(set_at("arms.own.entropy_weight"), leave_out("arms.own.start.entropy_weight")),
        arms__own={**E2MC, "generated": {"from": "e2mc", "dropped": ["entropy"]}}, ablate=[], contrasts=[]),
    *(one(f"arms.own.generated.{kind}[0]", f"has no {what} {NEAR}", rename, then=False,
          arms__own={**E2MC, "generated": {"from": "e2mc", kind: [word]}})
      for kind, what, word in (("dropped", "component", "entropi"), ("swapped", "field", "epsilonn"))),
    # what sections must agree on
    one("confirm.base_seeds", "every seed counts once, but .* stand there more than once; keep one of each",
        constant("confirm.base_seeds", [1, 2]), confirm__base_seeds=[1, 2, 1]),
    one("confirm.base_seeds", r"take other seeds than tune's \[101\]", constant("confirm.base_seeds", [102]),
        confirm__base_seeds=[101, 1]),
    one("confirm.base_seeds", "keep one, or write unit: (?P<value>base)", set_at("unit"), unit="continuation",
        then=False),
    one("tune.base_seeds", r"tunes the checkpoint that it confirms; write (?P<value>\[.*\])", set_here(),
        unit="continuation",
        confirm={"base_seeds": [1], "continuation_seeds": [1, 2]}, tune__continuation_seeds=[9]),
    one("base.batch_size", "is more than the 10000 SSL images; write at most (?P<value>10000)", set_here(),
        base__batch_size=20_000),
    one("base.optimizer.momentum", "adamw has no momentum; leave it out", leave_out(),
        base__optimizer={"momentum": 0.9}),
    one("base.optimizer.warmup_epochs", "is more than the (?P<value>20) epochs of base; write at most that", set_here(),
        base__optimizer={"warmup_epochs": 21}),
    one("numerics.micro_batch_size", "100 does not divide base.batch_size 250; write (?P<value>50)", set_here(),
        numerics={"micro_batch_size": 100}),
    one("numerics.micro_batch_size", "does not divide base.batch_size 251; change that, too",
        constant("base.batch_size", 250), base__batch_size=251, numerics={"micro_batch_size": 125}),
    one("continuation.optimizer.state", "write (?P<value>reset), or use the same for both", set_here(),
        base__optimizer={"name": "sgd"}, continuation__optimizer__state="keep"),
    one("tune", "no arm has anything to search; write tune: (?P<value>none)", set_here(), tune__shared={}, ablate=[],
        contrasts=[], arms={"base": {"continue": False}, "continued": {"criterion": "none"}}),
    *(one("augmentation.num_local_views", f"{family} .*; write (?P<value>0), or use", set_here(),
          augmentation={"name": "small_images", "num_local_views": 2}) for family in ("base.method", "base.backbone")),
    one("augmentation.num_local_views", r"base.method simsiam .*or use (?P<value>\w+)", set_at("base.method"),
        then=False,
        augmentation={"name": "small_images", "num_local_views": 2}),
    one("reference", f"no arm {NEAR}", rename, reference="continude"),
    one("contrasts[0][1]|contrasts[0]", f"no arm {NEAR}", lambda d, p, m: d["contrasts"][0].__setitem__(1, m["near"]),
        contrasts=[["e2mc", "bas"]]),
    one("contrasts[0]", "is compared with itself; leave it out, or write another arm", leave_out(), contrasts=[["e2mc",
        "e2mc"]]),
    one("contrasts[1]", "is declared twice, .*; keep one", leave_out(), contrasts=[["e2mc", "base"], ["base", "e2mc"]]),
    one("primary", f"no metric {NEAR}", rename, primary="linear_probe/top1_men"),
    one("tune.objective", f"no metric {NEAR}", rename, tune__objective="knn/top5"),
    one("tune.pruning", "trains the network, which is too much after every epoch; write (?P<value>none)", set_here(),
        evaluations__fine_tuning={"label_percent": [100]}, tune__objective="fine_tuning/top1_100pct",
        tune__pruning="median"),
    # searches that train otherwise
    one("tune.overrides.base.epochs",
        "only keys of continuation and dataset may differ, e.g. (?P<key>continuation.epochs)",
        lambda d, p, m: d["tune"].update(overrides={m["key"]: 1}), tune__overrides={"base.epochs": 3}),
    one("tune.overrides.dataset.name", "which searches share; leave it out", leave_out(),
        tune__overrides={"dataset.name": "cifar10"}),
    one(f"tune.overrides.{LR}", "is searched, so that every trial has its own; leave it out", leave_out(),
        tune__overrides={LR: 1e-3}),
    # blocks
    one("design", "but there are no blocks; leave it out", leave_out(), design="full"),
    one("design", "blocks that are listed one by one are not combined; leave it out", leave_out(), design="full",
        blocks=[{"base.epochs": 2}]),
    one("design", "must be '(?P<value>full)' or 'one_at_a_time'", set_here(), design="ful", blocks={"base.epochs": [1,
        2]}),
    one("blocks.study", "cannot differ between blocks; leave it out here", leave_out(),
        blocks={"study": ["a", "b"], "base.epochs": [1, 2]}),
    # imported bases
    one("base.family", f"no {NEAR}", rename, **{**IMPORTED, "base": {**VICREG, "family": "vicregg"}}),
    one("base.family", r"has other heads than base.method vicreg; write method: (?P<value>\w+)", set_at("base.method"),
        **{**IMPORTED, "base": {**VICREG, "family": "swav"}}),
    one("unit", "write unit: (?P<value>continuation)", set_here(), **{**IMPORTED, "unit": "base"}),
    one("base.backbone", r"published checkpoints have .*; write (?P<value>\w+) or", set_here(), then=False,
        **{**IMPORTED, "base": {**VICREG, "backbone": "conv_fc"}}),
    one("base.backbone.stem", "published ResNets have the stem (?P<value>imagenet), but", set_here(),
        **{**IMPORTED, "base": {**VICREG, "backbone": {"name": "resnet18", "stem": "small"}}}),
    # overrides
    Row({}, "override base.epoch", f"no key {NEAR}", lambda d, p, m: None, overrides=("base.epoch=3", "base.epochs=3")),
    Row({}, "override 'base.epochs'", "is not key=value, e.g. '(?P<near>.*)'", lambda d, p, m: None,
        overrides=("base.epochs", "confirm.base_seeds=[1,2,3]")),
]  # fmt: skip
TWICE = TEXT.replace("  uniformity:", "  e2mc:")
TEXTS = [  # faults of the text itself: (text, advice, the text that follows it)
    (
        TWICE,
        "'e2mc' stands here again, first on line 9; keep one",
        "\n".join(TEXT.splitlines()[:9] + TEXT.splitlines()[10:]),
    ),
    (
        "# nothing yet\n",
        "but is empty; see sweeps/ablation.yaml for an example",
        (ROOT / "sweeps/ablation.yaml").read_text(),
    ),
    (TEXT.replace("study: example", "study: !mine example"), "leave the tag out", TEXT),
    (TEXT.replace("  base: ", "\tbase: "), "indent with spaces", TEXT),
]
SLURM = {"executor": "slurm", "partition": "gpu", "cpus": 4, "time_min": 60}
SITES = [  # (site file, place, advice, what a reader does)
    ({"executer": "local"}, "executer", f"unknown key {NEAR}", rename),
    ({"executor": "slrm"}, "executor", f"no executor {NEAR}", rename),
    ({"executor": "local", "gpus": 1}, "gpus", "write `executor: slurm`, or leave it out", leave_out()),
    ({"executor": "local", "gpus": 1}, "gpus", "write `executor: (?P<value>slurm)`", set_at("executor")),
    ({**SLURM, "time_min": "1:30:00"}, "time_min", "must be a number of minutes .*; write (?P<value>90)", set_here()),
    ({**SLURM, "time_min": "90:30"}, "time_min", "; write (?P<value>91)", set_here()),
    ({**SLURM, "memory_gb": "500M"}, "memory_gb", "; write (?P<value>0.48828125)", set_here()),
    ({**SLURM, "account": 1000.0}, "account", "must be text, but got .*; write it in quotes",
     lambda d, p, m: d.update(account=str(d["account"]))),
    ({**SLURM, "account": ""}, "account", "must be text, but is empty; leave the key out instead", leave_out()),
    ({**SLURM, "setup": "module load"}, "setup", r"must be a list such as (?P<value>\[.*\]), but", set_here()),
    ({**SLURM, "environment": []}, "environment", r"must be a mapping such as (?P<value>\{.*\}), but", set_here()),
    ({**SLURM, "environment": {"PYTHONPATH": "x"}}, "environment", "extend it in `setup` instead", leave_out()),
    ({**SLURM, "phases": []}, "phases", r"must be a mapping such as (?P<value>\{.*\}), but", set_here()),
    ({**SLURM, "phases": {"tune": 3}}, "phases.tune", r"must be a mapping such as (?P<value>\{.*\}), but", set_here()),
    ({**SLURM, "phases": {"tuned": {"cpus": 8}}}, "phases.tuned", f"no phase {NEAR}", rename),
    ({**SLURM, "phases": {"tune": {"slots": 8}}}, "phases.tune.slots",
        "holds for all phases; write it at the top level",
     lambda d, p, m: d.update(slots=d["phases"]["tune"].pop("slots"))),
    ({**SLURM, "mode": "jobs", "runs_per_job": 2}, "runs_per_job", "write `mode: (?P<value>workers)`, or leave",
        set_at("mode")),
    ({**SLURM, "runs_per_job": 6}, "runs_per_job", "write `cpus: (?P<value>6)` or more", set_at("cpus")),
    ({**SLURM, "gpu_type": "a100"}, "gpu_type", "write `gpus: (?P<value>1)`", set_at("gpus")),
    ({**SLURM, "nodes": 2, "processes_per_run": 2}, "nodes", "write `mode: (?P<value>jobs)`", set_at("mode")),
    ({**SLURM, "nodes": 2, "mode": "jobs", "gpus": 4, "processes_per_run": 3}, "nodes",
     "write e.g. `processes_per_run: (?P<value>8)`", set_at("processes_per_run")),
    ({**SLURM, "warning_s": 1801}, "warning_s", r"must be below half .*so (?P<most>\S+) s\), but got 1801",
     lambda d, p, m: d.update(warning_s=float(m["most"]) - 1)),
    ({**SLURM, "warning_s": 90.5}, "warning_s", "SLURM knows no parts of them; write (?P<value>91)", set_here()),
    ({**SLURM, "setup": ["#SBATCH --mem=4G"]}, "setup", "an option of sbatch; use the keys for these",
     lambda d, p, m: d.update(setup=[], memory_gb=4)),
]  # fmt: skip


def shown_in(m: re.Match[str], path: str) -> Any:
    """What the file to look at has at a path."""
    where, key = place_of(parse((ROOT / m["file"]).read_text(), m["file"], []), path)
    return where[key]


def problems(text: str, *overrides: str) -> dict[str, str]:
    """Path → messages; empty when the file loads."""
    try:
        load_plans(text, "example.yaml", overrides)
    except PlanError as error:
        found: dict[str, str] = {}
        for problem in error.problems:
            found[problem.path] = f"{found.get(problem.path, '')}\n{problem.message}"
        return found
    return {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path}: {row.advice[:40]}")
def test_advice_about_sweep_files(row: Row) -> None:
    path = row.path.split("|")[-1]
    found = problems(edited(**row.changes), *row.overrides[:1])
    m = match(row.advice, found.get(path, ""))
    data = parse(edited(**row.changes), "example.yaml", [])
    row.act(data, path, m)
    after = problems(yaml.dump(data, Dumper=Dumper, sort_keys=False, width=10**6), *row.overrides[1:])
    assert m[0] not in after.get(path, ""), "the problem is gone"
    assert not (row.then and after), "nothing else is wrong"


@pytest.mark.parametrize(("text", "advice", "better"), TEXTS)
def test_advice_about_the_text(text: str, advice: str, better: str) -> None:
    assert match(re.escape(advice), "".join(problems(text).values()))
    assert advice not in "".join(problems(better).values())


@pytest.mark.parametrize(("site", "path", "advice", "act"), SITES)
def test_advice_about_site_files(tmp_path: Path, site: Data, path: str, advice: str, act: Act) -> None:
    file, data = tmp_path / "site.yaml", copy.deepcopy(site)
    act(data, path, match(advice, site_problems(file, site)[path]))
    assert site_problems(file, data) == {}


def site_problems(file: Path, site: Data) -> dict[str, str]:
    """Path → message; empty when the site loads."""
    file.write_text(yaml.dump(site, Dumper=Dumper))
    try:
        load_site(file)
    except PlanError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def match(advice: str, messages: str) -> re.Match[str]:
    m = next((m for message in messages.split("\n") if (m := re.search(advice, message))), None)
    assert m is not None, messages
    return m


REQUIRED = [
    "study", "dataset", "base", "base.method", "base.backbone", "base.epochs", "continuation", "continuation.epochs",
    "continuation.optimizer", LR, "arms", "reference", "evaluations", "primary", "tune", "tune.objective",
    "tune.trials_per_arm", "tune.base_seeds", "confirm", "confirm.base_seeds", "ablate.arm",
]  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED)
def test_the_example_for_what_is_missing_has_it(path: str) -> None:
    data = parse(TEXT, "example.yaml", [])
    where, key = place_of(data, path)
    del where[key]
    message = problems(yaml.dump(data, Dumper=Dumper))[path]
    put(data, path, shown_in(match("see (?P<file>sweeps/ablation.yaml) for an example", message), path))
    assert path not in problems(yaml.dump(data, Dumper=Dumper))


ADVICE = re.compile(
    r"; (write|leave|keep|set|give|change|move|rename|use|take|search)|\badd  |\bsee .* example|\bis .* meant"
)
ELSEWHERE = ("contract.py", "fields.py", "model.py", "spec.py")  # files of users, see tests/registry; damaged records


def test_every_piece_of_advice_is_in_a_table(tmp_path: Path) -> None:
    """Each message of the plan's modules that gives advice comes up in one of the tables above, and is tried there."""
    said = [m for row in ROWS for m in problems(edited(**row.changes), *row.overrides[:1]).values()]
    said += [m for text, _, _ in TEXTS for m in problems(text).values()]
    said += [m for site, *_ in SITES for m in site_problems(tmp_path / "site.yaml", site).values()]
    said += problems(edited(base=DELETED)).values()
    untried = []
    for file in sorted(set(PLAN.glob("*.py")) - {PLAN / name for name in ELSEWHERE}):
        for node in literals(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = [p.value if isinstance(p, ast.Constant) else None for p in parts]
            is_advice = ADVICE.search("".join(t or " " for t in text)) or "did_you_mean(" in ast.unparse(node)
            pattern = re.compile("".join(".*" if t is None else re.escape(t) for t in text), re.DOTALL)
            if is_advice and not any(map(pattern.search, said)):
                untried.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
    assert untried == []


def literals(tree: ast.AST) -> Iterator[ast.JoinedStr | ast.Constant]:
    """Texts of a module, but not what documents it."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        if is_text and id(node) not in documentation:
            assert isinstance(node, (ast.JoinedStr, ast.Constant))
            yield node
