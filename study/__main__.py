"""`python -m study status|publish|report|stop STUDY` and `python -m study site init|check`."""

import sys

from study.cli import main

if __name__ == "__main__":
    sys.exit(main())
