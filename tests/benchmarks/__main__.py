"""Run all benchmarks, or the ones named on the command line."""

import importlib
import sys
from pathlib import Path

known = sorted(f.stem for f in Path(__file__).parent.glob("*.py") if not f.stem.startswith("_"))
chosen = sys.argv[1:] or known
unknown = [name for name in chosen if name not in known]
if unknown:
    sys.exit(f"no benchmark {', '.join(unknown)}; known: {', '.join(known)}")
for name in chosen:
    print(f"== {name}")
    importlib.import_module(f"tests.benchmarks.{name}").run()
