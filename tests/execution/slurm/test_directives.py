"""What the site file declares is what sbatch gets: every directive of rendered batch scripts, compared."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from study.execution.slurm.directives import directives
from study.execution.slurm.submission import submit_attempts, submit_worker
from study.plan.site import Slurm, load_site
from tests.fakes.slurm_commands import SlurmCommands

# What every job is told besides: by whom it may be found, where it writes, and that it stays in nobody's queue.
OWN = {"job-name", "output", "error", "open-mode", "no-requeue", "ntasks-per-node", "signal"}
# Text of a site file, what is declared in it, and what is said before Python starts.
SITES: Mapping[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    "nothing": ("", {"nodes": "1", "cpus-per-task": "1", "time": "60", "signal": "USR2@120"}, ()),
    "times": ("time_min: 7\nwarning_s: 13", {"time": "7", "signal": "USR2@13"}, ()),
    "whole numbers as others write them": ("time_min: 90.0\nmemory_gb: 2.0", {"time": "90", "mem": "2048M"}, ()),
    "least memory": ("memory_gb: 0.001", {"mem": "2M"}, ()),
    "broken memory": ("memory_gb: 0.15", {"mem": "154M"}, ()),
    "half gigabytes": ("memory_gb: 32.5", {"mem": "33280M"}, ()),
    "a terabyte": ("memory_gb: 1024", {"mem": "1048576M"}, ()),
    "many cores": ("cpus: 128", {"cpus-per-task": "128"}, ()),
    "any GPUs": ("gpus: 4", {"gres": "gpu:4"}, ()),
    "certain GPUs": ("gpus: 2\ngpu_type: a100", {"gres": "gpu:a100:2"}, ()),
    "GPUs with a point": ("gpus: 1\ngpu_type: 1g.5gb", {"gres": "gpu:1g.5gb:1"}, ()),
    "no GPU": ("gpus: 0", {}, ()),
    "names": ("partition: gpu,high\naccount: lab-1\nqos: long_2", {"partition": "gpu,high", "account": "lab-1",
                                                                   "qos": "long_2"}, ()),
    "features": ("constraint: '[ib*2|intel*1]&!old'", {"constraint": "[ib*2|intel*1]&!old"}, ()),
    "quoted features": ("constraint: \"it's\"", {"constraint": "it's"}, ()),
    "nodes to avoid": ("exclude: [node1, 'node[3-4,7]']", {"exclude": "node1,node[3-4,7]"}, ()),
    "nodes": ("mode: jobs\nnodes: 2\nprocesses_per_run: 2", {"nodes": "2"}, ()),
    "shell lines": ("setup: [module load cuda/12, 'X=\"$HOME\"; echo ''%j''']", {},
                    ("module load cuda/12", "X=\"$HOME\"; echo '%j'")),
    "variables": (
        "environment: {A: 1.10, B: 010, C: 1e-3, D: 'a b', E: \"it's $HOME %j `x`\", F: '', G: 1_000}", {},
        ("export A=1.10", "export B=010", "export C=1e-3", "export D='a b'", "export E='it'\"'\"'s $HOME %j `x`'",
         "export F=''", "export G=1_000"),
    ),
}  # fmt: skip


def loaded(folder: Path, text: str) -> Slurm:
    file = folder / "site.yaml"
    file.write_text(f"executor: slurm\n{text}\n")
    slurm = load_site(file).slurm
    assert slurm is not None
    return slurm


def script_of(folder: Path) -> str:
    return next(folder.glob("*submission*.sh")).read_text()


def directives_in(script: str) -> dict[str, str]:
    """Options of a batch script as sbatch reads them."""
    lines = (
        shlex.split(line.removeprefix("#SBATCH "))[0] for line in script.splitlines() if line.startswith("#SBATCH")
    )
    return {name.removeprefix("--"): value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize("name", SITES)
def test_every_directive_is_what_is_declared(slurm: SlurmCommands, tmp_path: Path, name: str) -> None:
    text, declared, setup = SITES[name]
    site = loaded(tmp_path, text)
    folder = tmp_path / "log"
    submit_worker(folder, tmp_path / "w0001", "study-x", site.resources, site, tmp_path / "it's code", [])
    script = script_of(folder)
    found = directives_in(script)
    usual = dict(SITES["nothing"][1])
    assert {k: v for k, v in found.items() if k not in OWN or k == "signal"} == {**usual, **declared}
    assert found.keys() >= OWN
    lines = script.split("# setup\n")[1].split("\n# command")[0].splitlines()
    assert tuple(line for line in lines if line and "PYTHONPATH" not in line) == setup
    code = shlex.quote(str(tmp_path / "it's code"))
    assert f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}}" in script
    assert f"--cpus-per-task={site.resources.cpus}" in script.split("\nsrun ")[1]


def test_nodes_that_were_lost_are_avoided_beside_those_of_the_site(tmp_path: Path) -> None:
    site = loaded(tmp_path, "exclude: [node1]")
    assert directives(site.resources, ["node2", "node3"])["exclude"] == "node1,node2,node3"


@pytest.mark.parametrize("size", [1, 2, 256, 257, 700])
def test_arrays_run_as_wide_as_they_are(slurm: SlurmCommands, tmp_path: Path, size: int) -> None:
    """Not 256 wide, which is submitit's taste."""
    site = loaded(tmp_path, f"mode: jobs\nslots: {size}")
    attempts = [tmp_path / f"a{i}" for i in range(size)]
    ids = submit_attempts(tmp_path / "log", attempts, "study-x", site.resources, site, tmp_path, [])
    array = directives_in(script_of(tmp_path / "log")).get("array")
    assert array == (None if size == 1 else f"0-{size - 1}%{size}")
    assert ids == (["7"] if size == 1 else [f"7_{i}" for i in range(size)])


def test_nothing_is_told_that_nobody_declared(slurm: SlurmCommands, tmp_path: Path) -> None:
    """`--wckey=submitit` is refused where only known keys are taken."""
    site = loaded(tmp_path, "")
    submit_worker(tmp_path / "log", tmp_path, "study-x", site.resources, site, tmp_path, [])
    assert not re.search("wckey|comment|account|mem", script_of(tmp_path / "log").replace(str(tmp_path), ""))
