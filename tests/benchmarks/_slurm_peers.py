"""How others run a search on SLURM: a plain loop of Optuna and submitit, and Hydra with its Optuna sweeper."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_HYDRA = ("hydra-core", "hydra-optuna-sweeper", "hydra-submitit-launcher")
_APP = """
import time

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    time.sleep(LENGTHS[int(HydraConfig.get().job.num)])
    return 0.0


main()
"""


def submitit_loop(
    folder: Path, lengths: Sequence[float], num_slots: int, module: str | None = None, memory_gb: float = 0.4
) -> float:
    """Seconds: ask, submit, look five times a second which jobs are done, tell; jobs import `module`."""
    import optuna
    import submitit

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    executor = _submitit(folder, memory_gb)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    begin, waiting, running = time.monotonic(), list(lengths), list[tuple[optuna.Trial, submitit.Job[None]]]()
    while waiting or running:
        while waiting and len(running) < num_slots:
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            running.append((trial, executor.submit(_load_and_sleep, module, waiting.pop(0))))
        time.sleep(0.2)
        for trial, job in [pair for pair in running if pair[1].done()]:
            study.tell(trial, 0.0)
            running.remove((trial, job))
    return time.monotonic() - begin


def replacement_by_submitit(folder: Path) -> float:
    """Seconds from the cancelling of a job until the next one runs, submitted as soon as submitit calls it done."""
    executor = _submitit(folder)
    first = executor.submit(time.sleep, 60.0)
    while _state(first.job_id) != "RUNNING":
        time.sleep(0.2)
    time.sleep(2)
    begin = time.monotonic()
    subprocess.run(["scancel", first.job_id], check=True)
    while not first.done():
        time.sleep(0.2)
    sign = folder / "runs again"
    executor.submit(sign.touch)
    while not sign.exists():
        time.sleep(0.2)
    return time.monotonic() - begin


def hydra_sweep(folder: Path, lengths: Sequence[float], num_slots: int) -> float | None:
    """Seconds, or None when Hydra and its plugins cannot be installed."""
    environment = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "study-bench-hydra"
    python = environment / "bin" / "python"
    if not (environment / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        result = subprocess.run([python, "-m", "pip", "install", "--quiet", *_HYDRA], capture_output=True, text=True)
        if result.returncode != 0:
            print(f"Hydra is left out, it cannot be installed: {result.stderr.strip()[-400:]}")
            return None
        (environment / "installed").touch()
    folder.mkdir()
    (folder / "app.py").write_text(_APP.replace("LENGTHS", repr(list(lengths))))
    arguments = [
        "-m", "hydra/sweeper=optuna", "hydra/launcher=submitit_slurm", "hydra/sweeper/sampler=random",
        f"hydra.sweeper.n_trials={len(lengths)}", f"hydra.sweeper.n_jobs={num_slots}", "hydra.launcher.partition=gpu",
        "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=20", "+x=interval(0, 1)",
    ]  # fmt: skip
    begin = time.monotonic()
    result = subprocess.run([python, "app.py", *arguments], cwd=folder, capture_output=True, text=True, timeout=900)
    if result.returncode != 0:
        print(f"Hydra is left out, it failed: {result.stderr.strip()[-400:]}")
        return None
    return time.monotonic() - begin


def _load_and_sleep(module: str | None, seconds: float) -> None:
    if module is not None:
        importlib.import_module(module)
    time.sleep(seconds)


def _submitit(folder: Path, memory_gb: float = 0.4):  # type: ignore[no-untyped-def]
    import submitit

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(partition="gpu", mem=f"{round(memory_gb * 1024)}MB", time=20)
    return executor


def _state(job_id: str) -> str:
    command = ["squeue", "-h", "-j", job_id, "-o", "%T"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
