"""A home with a study of 10,000 finished runs of 20,000 steps each, written within seconds: what is equal is linked.

The files are those that a worker leaves, name by name. Journals come in two shapes: as they are written now, and as
earlier code wrote them, with every step.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.journal.thinning import is_kept
from study.orchestration import actions
from study.orchestration.decide import evaluations_for, known_specs
from study.paths import HomePaths, RunPaths
from study.plan.expand import tune_specs
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState

NUM_EPOCHS, STEPS_PER_EPOCH, NUM_METRICS = 4, 5_000, 20
NUM_SEEDS = int(os.environ.get("NUM_SEEDS", "1000"))  # of ten arms each
NUM_STEPS = NUM_EPOCHS * STEPS_PER_EPOCH
STUDY = "scale"
SHAPES = ("as it is written now", "every step, as earlier code wrote it")
_START_T = 1_763_800_000.0
_WEIGHTS = hashlib.sha256(b"weights").hexdigest()
_SWEEP = """\
study: scale
question: Does everything answer at once?
dataset: {{name: fashion_mnist, num_ssl_images: 50000, num_validation_images: 5000}}
base: {{method: simsiam, backbone: conv_fc, epochs: 2, batch_size: 250}}
continuation: {{epochs: {epochs}, batch_size: {batch_size}, optimizer: {{name: adamw, lr: 1.0e-3}}}}
arms:
  base:        {{continue: false}}
  continued:   {{criterion: none}}
  e2mc:        {{criterion: e2mc, entropy_weight: 0.5, covariance_weight: 0.5, start: {{strength: 2.0}}}}
  uniformity:  {{criterion: uniformity, start: {{strength: 2.0}}}}
  vc-sphere:   {{criterion: vc, std_weight: 1.0, covariance_weight: 10.0, start: {{strength: 2.0}}}}
  mmcr:        {{criterion: mmcr, start: {{strength: 2.0}}}}
  koleo:       {{criterion: koleo, start: {{strength: 2.0}}}}
  coding-rate: {{criterion: coding_rate, start: {{strength: 2.0}}}}
  sigreg:      {{criterion: sigreg, start: {{strength: 2.0}}}}
  barlow:      {{criterion: barlow, start: {{strength: 2.0}}}}
reference: continued
contrasts: [[e2mc, continued], [uniformity, continued], [mmcr, continued]]
evaluations: {{linear_probe: {{label_percent: [1, 10, 100]}}, knn: {{}}}}
primary: linear_probe/top1_mean
equivalence_margin_pp: 0.5
tune: {{objective: linear_probe/top1_mean, trials_per_arm: 2, base_seeds: [100001], sampler: random,
        shared: {{continuation.optimizer.lr: {{low: 3.0e-4, high: 3.0e-3, log: true}}}}}}
confirm: {{base_seeds: {seeds}}}
"""


@dataclass(frozen=True)
class ScaleHome:
    """Where it lies, and what is in it."""

    home: HomePaths
    plan: Plan
    trials: Mapping[str, Sequence[Trial]]

    @property
    def sweep(self) -> Path:
        """The sweep file, as the user has it."""
        return self.home.root.parent / "sweep.yaml"

    def runs(self) -> Iterator[tuple[RunSpec, RunPaths]]:
        """Every base and run."""
        for spec, phase in known_specs(self.plan, self.trials):
            yield spec, self.home.run_of(STUDY, spec.run_id, phase)


def scale_home(shape: str, num_seeds: int = NUM_SEEDS) -> ScaleHome:
    """The home with journals of this shape, made unless $STUDY_SCALE_HOME or the temporary folder has it."""
    epochs = {"epochs": NUM_EPOCHS, "batch_size": 50_000 // STEPS_PER_EPOCH}
    text = _SWEEP.format(seeds=list(range(1, num_seeds + 1)), **epochs)
    plan = load_plan(text, "scale.yaml")
    made_by = Path(__file__).read_bytes() + Path(is_kept.__code__.co_filename).read_bytes()
    key = hashlib.sha256(made_by + json.dumps([plan.as_json(), shape]).encode()).hexdigest()[:12]
    parent = Path(os.environ.get("STUDY_SCALE_HOME") or Path(tempfile.gettempdir()) / "study-scale")
    folder = parent / key
    made = ScaleHome(HomePaths(folder / "home"), plan, {a.name: list(_trials(plan, a.name)) for a in plan.arms})
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "home" / STUDY).mkdir(parents=True)
        made.sweep.write_text(text)
        _write(made, folder / "shared", text, every=1 if shape == SHAPES[1] else None)
        (folder / "complete").touch()
    return made


def journal(every: int | None) -> bytes:
    """A journal of a run that finished, with steps thinned as `is_kept` says, or as `every` does."""
    source = random.Random(0)
    lines = [_line("started", attempt=1, resumed_step=0, resumed_attempt=None, cpu_s=0.4, **_STARTED)]
    names = ["train/loss", "train/base_loss", "train/criterion", "train/lr"]
    names += [f"train/projections/quantity_{i:02}" for i in range(NUM_METRICS - len(names))]
    for step in range(1, NUM_STEPS + 1):
        if is_kept(step, NUM_STEPS, STEPS_PER_EPOCH, every):
            values = struct.unpack(f"{len(names)}f", struct.pack(f"{len(names)}f", *(source.random() for _ in names)))
            lines.append(_line("step", step=step, metrics=dict(zip(names, values, strict=True))))
        if step % 2000 == 0:
            lines.append(_line("checkpoint", step=step, cpu_s=step / 10))
    lines.append(_line("trained", step=NUM_STEPS, cpu_s=NUM_STEPS / 10))
    lines += [_line("evaluated", key=name, cpu_s=NUM_STEPS / 10) for name in ("linear_probe", "knn")]
    return b"".join([*lines, _line("finished", max_rss_mb=1000.0, cpu_s=NUM_STEPS / 10)])


_STARTED = {
    "process": {"host": "node7", "boot_id": "b27b82c4-5dbe-40e9-a490-e7ab4c44f8a1", "pid": 12710, "start_time": 928.4},
    "device": "cpu", "slurm_job": None, "cpu_model": "a CPU", "python": "3.11.7", "code": "0" * 64,
    "libraries": {"torch": "2.9.0", "torchvision": "0.24.0", "numpy": "2.3.5", "pillow": "12.0.0", "scipy": "1.16.3"},
    "commit": "5b28f88a6f34c7bed4f2cc70489bfd54f0b2cecf", "dataset_fingerprint": "e2" * 32,
}  # fmt: skip


def _line(event: str, **fields: Any) -> bytes:
    return json.dumps({"t": _START_T, "event": event, **fields}).encode() + b"\n"


def _trials(plan: Plan, arm: str) -> Iterator[Trial]:
    own = plan.arm(arm)
    for number in range(plan.tune.trials_per_arm if own.is_tuned else 0):
        params = {name: value * 0.9**number for name, value in own.start.items()}
        yield Trial(number, params, TrialState.COMPLETE, 60.0 + number)


def _write(made: ScaleHome, shared: Path, text: str, every: int | None) -> None:
    plan, study = made.plan, made.home.study(STUDY)
    actions.store_plan(study, plan, text)
    for arm in plan.arms:
        for trial in made.trials[arm.name]:
            run_ids = [spec.run_id for spec in tune_specs(plan, arm, trial.params)]
            actions.write_trial(study, arm.name, trial, run_ids)
    parts = {phase: _shared_files(shared / str(phase), plan, phase, every) for phase in Phase}
    for spec, run in made.runs():
        phase = Phase(spec.labels["phase"])
        for folder in ("evaluations", "attempts/001"):
            (run.root / folder).mkdir(parents=True)
        run.spec.write_text(json.dumps(spec.as_json()))
        for name, source in parts[phase].items():
            os.link(source, run.root / name)
        for number, request in enumerate(evaluations_for(plan, phase)):
            (run.evaluations / f"{request.key}.json").write_text(_evaluation(spec, request, number))


def _shared_files(folder: Path, plan: Plan, phase: Phase, every: int | None) -> dict[str, Path]:
    """What all runs of a phase have in common, by its place in a run."""
    folder.mkdir(parents=True)
    paired = {"base_weights": _WEIGHTS, "order": "1" * 64, "augmentation": "2" * 64}
    trained = {"schema_version": 1, "attempt": 1, "step": NUM_STEPS, "weights_sha256": _WEIGHTS, "paired": paired}
    trained |= {"code": "0" * 64, "cpu_s": 2000.0, "wall_s": 2100.0}
    requests = [
        {"split": r.split, "key": r.key, "evaluation": r.evaluation.as_json()} for r in evaluations_for(plan, phase)
    ]
    job = {
        "schema_version": 1, "run_id": "any", "attempt": 1, "intent_t": _START_T, "study": STUDY, "executor": "local",
        "orchestrator": _STARTED["process"], "phase": str(phase), "commit": "5b28f88",
        "request": {"home": "anywhere", "data_folder": "anywhere", "checkpoint_every_s": 30.0, "evaluations": requests},
        "job": {"pid": 12710, "gpu": None},
    }  # fmt: skip
    contents = {
        "trained.json": json.dumps(trained).encode(),
        "job.json": json.dumps(job, indent=1).encode(),
        "claim": json.dumps(_STARTED["process"]).encode(),
        "heartbeat": json.dumps({"t": _START_T, "step": NUM_STEPS, "num_steps": NUM_STEPS}).encode(),
        "weights.safetensors": b"weights",
        "log.out": b"",
        "log.err": b"",
        "events.jsonl": journal(every),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    of_run = {name: folder / name for name in ("trained.json", "weights.safetensors")}
    return of_run | {f"attempts/001/{name}": folder / name for name in contents}


def _evaluation(spec: RunSpec, request: Any, number: int) -> str:
    luck = random.Random(f"{spec.labels['base_seed']} {number}").gauss(70.0, 1.0)
    value = luck + random.Random(spec.run_id).gauss(0.0, 0.2)
    names = ("top1_1pct", "top1_10pct", "top1_100pct", "top1_mean") if number == 0 else ("top1",)
    content = {
        "schema_version": 1, "evaluation": request.evaluation.as_json(), "split": request.split,
        "weights_sha256": _WEIGHTS, "metrics": dict.fromkeys(names, value), "labels_sha256": "3" * 64,
        "unit": "percent", "cpu_s": 20.0, "t": _START_T, "attempt": 1,
    }  # fmt: skip
    return json.dumps(content)
