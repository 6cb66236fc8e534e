"""`python -m study status|publish|report|stop STUDY` and `python -m study site init|check`."""

import gc
import sys

from study.cli import main

if __name__ == "__main__":
    code = main()
    gc.freeze()  # see run_sweep.py
    sys.exit(code)
