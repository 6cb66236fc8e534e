"""`python -m study status|publish|report|stop STUDY`."""

import sys

from study.cli import main

if __name__ == "__main__":
    sys.exit(main())
