# Two commands matter: `make demo` runs the main job, `make test` runs the tests. Both set themselves up.
VENV ?= .venv
PYTHON ?= python3
STUDY_HOME ?= studies
STUDY ?= fashion-mnist-ablation
BENCH ?=
BIN := $(VENV)/bin
DATA := $(STUDY_HOME)/data/fashion-mnist
NOTEBOOKS := $(sort $(wildcard analysis/0*.ipynb))
SYSTEM_DATA := /usr/share/datasets/fashion-mnist
export STUDY_HOME

.PHONY: help demo test test-studies test-cluster test-slow test-slurm check fix bench ui figures data clean
help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/.installed data  ## run the main job: sweeps/ablation.yaml
	$(BIN)/python study/run_sweep.py sweeps/ablation.yaml

# What computes comes first; whole studies and the cluster wait often, so that they go on side by side.
SLOWEST := --durations=25 --durations-min=5
SLOW_FIRST := tests/worker tests/orchestration tests/execution tests/analysis
test: $(VENV)/.installed-tests data  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SLOWEST) -n 3 --dist loadfile --no-loadscope-reorder $(SLOW_FIRST) tests \
	  --ignore=tests/end_to_end --ignore=tests/slurm
	$(MAKE) --jobs=2 --output-sync=target test-studies test-cluster

test-studies:
	$(BIN)/python -m pytest $(SLOWEST) tests/end_to_end

test-cluster:
	$(BIN)/python -m pytest $(SLOWEST) tests/slurm

test-slow: $(VENV)/.installed-tests data  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-slurm: $(VENV)/.installed-tests data  ## run the tests that take minutes on a real SLURM cluster
	$(BIN)/python -m pytest -m slurm_slow

check: $(VENV)/.installed-tests  ## lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.installed-tests  ## format and mend what can be mended
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-tests data  ## measure; BENCH=name for one benchmark
	$(BIN)/python -m tests.benchmarks $(BENCH)

ui: $(VENV)/.installed  ## browse the runs of $STUDY_HOME at http://127.0.0.1:5000
	$(BIN)/mlflow server --backend-store-uri sqlite:///$(abspath $(STUDY_HOME))/mlflow.db --host 127.0.0.1 --port 5000 --workers 1

figures: $(VENV)/.installed  ## redraw the figures of STUDY=name, by the notebooks, into its folder report/figures
	@mkdir -p $(abspath $(STUDY_HOME))/$(STUDY)/report
	@set -e; for notebook in $(NOTEBOOKS); do \
	  echo "Executing $$notebook"; \
	  STUDY_DIR=$(abspath $(STUDY_HOME))/$(STUDY) $(BIN)/jupyter execute \
	    --output $(abspath $(STUDY_HOME))/$(STUDY)/report/$$(basename $$notebook) $$notebook; \
	done

clean:  ## remove the virtual environment and caches; studies stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.installed-tests: tests/requirements.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --requirement tests/requirements.txt
	touch $@

# Fashion-MNIST: what is there is used. Debian's package is fetched and unpacked into the study home, which needs no
# rights; it is installed only as root with CI or STUDY_INSTALL_SYSTEM=1. Without apt, the first run downloads it.
data:
	@if [ -n "$$STUDY_DATA" ] || [ -d $(SYSTEM_DATA) ] || [ -d $(DATA) ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq || true; fi; \
	if [ "$$(id -u)" = 0 ] && [ -n "$$CI$$STUDY_INSTALL_SYSTEM" ]; then \
	  echo "Installing Debian's package dataset-fashion-mnist"; apt-get install -y -qq dataset-fashion-mnist; \
	else \
	  echo "Fetching Debian's package dataset-fashion-mnist into $(DATA) (nothing is installed)"; \
	  folder=$$(mktemp -d) && chmod 755 $$folder && cd $$folder && apt-get download -qq dataset-fashion-mnist && \
	  dpkg-deb -x *.deb . && mkdir -p $(abspath $(DATA)) && cp usr/share/datasets/fashion-mnist/* $(abspath $(DATA)); \
	  rm -rf $$folder; [ -d $(abspath $(DATA)) ] || echo "… which failed; the study will try to download it"; \
	fi
