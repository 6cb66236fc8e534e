"""`python -m study status|publish|report|stop STUDY` and `python -m study site init|check`."""

import gc
import sys

from study import interpreter

if __name__ == "__main__":
    interpreter.require("-m", "study", *sys.argv[1:])

    from study.cli import main

    code = main()
    gc.freeze()  # see run_sweep.py
    sys.exit(code)
