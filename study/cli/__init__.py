"""The command line: the only package that prints or exits.

Exit codes: 0 finished, 2 the user's mistake, 3 finished but some runs failed or an arm came to
nothing, 130 interrupted.

Heavy imports happen inside the functions that need them: `--help`, `status` and a finished study load no torch.
"""

from study.cli.manage import main
from study.cli.sweep import run_sweep

__all__ = ["main", "run_sweep"]
