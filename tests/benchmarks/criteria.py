"""E2MC, forward and backward, against its formula written down without thought for speed; float32, one thread."""

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from study.criteria.base import Views
from study.criteria.e2mc import E2MC

SHAPES = [(256, 128), (512, 128), (250, 256), (512, 2048)]
REPETITIONS = 7


def plain(z: Tensor) -> Tensor:
    """The formula of the paper for (views, batch, dim) projections, weights 10 and 1."""
    total = z.new_zeros(())
    num_rows, dim = z.shape[1:]
    spacing = round(math.sqrt(num_rows))
    for view in z:
        u = 0.5 * (1 + torch.erf(view / math.sqrt(2)))
        ordered = u.sort(dim=0).values
        gaps = (num_rows + 1) / spacing * (ordered[spacing:] - ordered[:-spacing]) + 1e-7
        centred = u - u.mean(dim=0)
        covariance = centred.T @ centred / (num_rows - 1)
        off_diagonal = covariance - torch.diag(torch.diag(covariance))
        total = total + off_diagonal.square().sum() / dim - 10 * gaps.log().mean() / len(z)
    return total


def seconds(function: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """Median time of forward and backward."""
    times = []
    for _ in range(REPETITIONS + 1):
        leaf = z.clone().requires_grad_()
        start = time.perf_counter()
        function(leaf).backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def run() -> None:
    """Print milliseconds and the ratio for each shape."""
    torch.set_num_threads(1)
    criterion = E2MC()
    for shape in SHAPES:
        z = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(plain(z), criterion(Views(z)).total, rtol=1e-4, atol=1e-4)
        slow, fast = seconds(plain, z), seconds(lambda x: criterion(Views(x)).total, z)
        ratio = f"{slow / fast:5.2f} × faster"
        print(f"2 × {shape[0]} × {shape[1]}: {fast * 1e3:8.2f} ms, plain {slow * 1e3:8.2f} ms, {ratio}")
