"""E2MC, forward and backward, beside its authors' formula; two views, float32, one thread.

Time is that of the processor, the median of repetitions that take turns: other processes disturb it little. Memory is
by how much a process of its own grows at its peak.
"""

from __future__ import annotations

import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from study.criteria.base import Views
from study.criteria.e2mc import E2MC
from tests.benchmarks._report import Measurement, print_lines

ROOT = Path(__file__).parents[2]
SHAPES = [(256, 128), (512, 128), (512, 2048), (512, 8192), (2048, 8192)]
SECONDS_PER_SHAPE = 5.0  # at least three repetitions of both, however long they take
PEER = "authors' formula"


def ours(z: Tensor) -> Tensor:
    """The criterion with its defaults."""
    return E2MC()(Views(z)).total


def authors(z: Tensor) -> Tensor:
    """The formula as its authors compute it, weights 10 and 1, for (views, batch, dim) projections.

    Written down from the steps of https://github.com/deepc94/e2mc, commit 875d8de: every view on its own, sorted along
    its first dimension, and the whole D × D covariance, whose off-diagonal elements are a strided view.
    """
    total = z.new_zeros(())
    num_rows, dim = z.shape[1:]
    spacing = round(math.sqrt(num_rows))
    for view in z:
        u = 0.5 * (1 + torch.erf(view / math.sqrt(2)))
        ordered = u.sort(dim=0).values
        gaps = (num_rows + 1) / spacing * (ordered[spacing:] - ordered[:-spacing]) + 1e-7
        centred = u - u.mean(dim=0)
        covariance = centred.T @ centred / (num_rows - 1)
        off_diagonal = covariance.flatten()[1:].view(dim - 1, dim + 1)[:, :-1]
        total = total + off_diagonal.square().sum() / dim - 10 * gaps.log().mean() / len(z)
    return total


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"ours": ours, PEER: authors}


def projections(num_rows: int, dim: int) -> Tensor:
    """Two views of standard normal projections that take a gradient."""
    return torch.randn(2, num_rows, dim, generator=torch.Generator().manual_seed(0)).requires_grad_()


def seconds(num_rows: int, dim: int) -> dict[str, float]:
    """Median processor time of forward and backward, taking turns."""
    z = projections(num_rows, dim)
    times: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    start = time.perf_counter()
    while len(times[PEER]) < 4 or time.perf_counter() - start < SECONDS_PER_SHAPE:
        for name, function in FUNCTIONS.items():
            z.grad = None
            begin = time.process_time()
            function(z).backward()
            times[name].append(time.process_time() - begin)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def megabytes(name: str, num_rows: int, dim: int) -> float:
    """Growth of a fresh process at its peak; projections and their gradient are not counted."""
    program = f"from tests.benchmarks import criteria; criteria.print_growth({name!r}, {num_rows}, {dim})"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(result.stdout)


def print_growth(name: str, num_rows: int, dim: int) -> None:
    """Print by how many megabytes one forward and backward pass lets this process grow."""
    torch.set_num_threads(1)
    FUNCTIONS[name](projections(50, 60)).backward()  # what libraries allocate once
    z = projections(num_rows, dim)
    z.grad = torch.ones_like(z)  # not zeros, whose pages come into being when they are written
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    FUNCTIONS[name](z).backward()
    print(_resident("VmHWM") - before)


def _resident(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def run() -> None:
    """Print time, memory and ratios for each shape."""
    torch.set_num_threads(1)
    measured = []
    for num_rows, dim in SHAPES:
        z = projections(num_rows, dim).detach()
        torch.testing.assert_close(ours(z), authors(z), rtol=1e-4, atol=1e-4)
        milliseconds = {name: 1e3 * value for name, value in seconds(num_rows, dim).items()}
        growth = {name: megabytes(name, num_rows, dim) for name in FUNCTIONS}
        for what, unit, values in (("time", "ms", milliseconds), ("memory", "MB", growth)):
            name = f"e2mc {what}, 2 × {num_rows} × {dim}"
            measurement = Measurement(name, values["ours"], {PEER: values[PEER]}, unit)
            measured.append(measurement)
            numbers = f"{measurement.ours:9.2f} {unit}, {PEER} {values[PEER]:9.2f} {unit}"
            print(f"{name:28} {numbers}, {measurement.ratio:5.2f} ×", flush=True)
    print_lines(measured)
