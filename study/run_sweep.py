"""`python study/run_sweep.py SWEEP`: the launcher. Nothing else lives here, because jobs may import this file."""

import gc
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from study import interpreter

    interpreter.require(*sys.argv)

    from study.cli import run_sweep

    code = run_sweep()
    gc.freeze()  # Python would look through all of torch's objects once more before it leaves, for two seconds
    sys.exit(code)
