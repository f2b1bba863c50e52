# Targets that people use; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
LOCKS  := $(wildcard requirements/*.lock)
REV    ?= HEAD
N      ?= 5
# The folder for which the environment was made: its programs name it.
MADE   := $(shell cat /dev/null $(READY) 2>/dev/null)

# Stages run `python src/….py`: use the environment of this project. To make it, use the user's.
USER_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
# The user of a container may have no name and no home; DVC needs both.
export USER := $(or $(USER),$(shell id -un 2> /dev/null),$(shell id -u))
export HOME := $(or $(filter-out /,$(HOME)),$(CURDIR)/$(VENV))

.DEFAULT_GOAL := help
.PHONY: help setup data check repro quick history article gpu residual seeds seeds-number compare test test-unit chaos fuzz speedrun lint \
	ui dashboard demo serve

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with the locked versions (PYTHON=… with another Python)

version = $(shell { PATH='$(USER_PATH)' $1 -c 'import sys; print(sys.version)'; } 2> /dev/null)
ifneq ($(origin PYTHON),file)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
MADE := another Python
endif
endif

# An environment that is incomplete, or was made for another folder or with another Python than the
# one that is asked for, is made from nothing.
ifneq ($(MADE),$(CURDIR))
CLEAR := --clear
.PHONY: $(if $(MADE),$(READY))
endif

$(READY): pyproject.toml $(LOCKS)
	@PATH='$(USER_PATH)' $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"error: Python 3.11 or newer is needed; `make $(MAKECMDGOALS) PYTHON=python3.11`" or 0)'
	PATH='$(USER_PATH)' $(PYTHON) -m venv $(CLEAR) $(VENV)
	$(BIN)/python -m pip install --quiet $(LOCKS:%=--constraint %) --editable '.[dev]'
	@echo '$(CURDIR)' > $@

data: $(READY) ## download the data set
	$(BIN)/dvc repro download

check: $(READY) ## check params.yaml and the description of the data set
	@$(BIN)/python src/check.py

repro: check ## run the stages that are not up to date: download, tune, train, evaluate
	$(BIN)/dvc repro

# In a shallow clone DVC runs an experiment, and keeps nothing of it.
history:
	@[ "$$(git rev-parse --is-shallow-repository)" != true ] || \
		{ echo 'error: a shallow clone keeps no experiment; run `git fetch --unshallow`' >&2; exit 1; }

quick: history data ## run the pipeline on a small part of the data, as the DVC experiment `quick`
article: history data ## run the protocol of the article, as the DVC experiment `article`
gpu: history data ## run the pipeline on a GPU, as the DVC experiment `gpu`
residual: history data ## tune, train and evaluate a residual network, as the DVC experiment `residual`
quick article gpu residual:
	$(BIN)/dvc exp run --temp --force --name $@ $$(sed -n 's/^[^#]/--set-param &/p' experiments/$@)
	@echo 'Next: `make ui` shows its runs; this shows its metrics beside those of the workspace:'
	@echo "$(BIN)/dvc exp show --drop '.*' --keep 'Experiment|.*_accuracy$$|parameters|epochs'"

# Before the data are downloaded.
seeds-number:
	@case '$(N)' in '' | *[!0-9]* | 0* | 1) \
		echo 'error: N=$(N): for a deviation, N must be a whole number, 2 or more' >&2; exit 1 ;; esac

seeds: seeds-number history data ## run the pipeline under N (5) other seeds, as DVC experiments; write reports/seeds.md
	@for seed in $$(seq $(N)); do \
		if git diff --quiet HEAD -- . ':!reports' ':!models' && \
			$(BIN)/dvc exp list --name-only | grep --quiet --line-regexp "seed-$$seed"; then continue; fi; \
		$(BIN)/dvc exp remove --quiet "seed-$$seed" 2> /dev/null; \
		$(BIN)/dvc exp run --temp --name "seed-$$seed" \
			--set-param tune.seed=$$seed --set-param train.seed=$$seed || exit; \
	done
	$(BIN)/python src/seeds.py $(N)

compare: $(READY) ## show how the results differ from those of the commit REV (HEAD)
	git --no-pager diff --stat $(REV) -- reports models
	$(BIN)/dvc diff --hide-missing $(REV)
	$(BIN)/dvc params diff $(REV)
	$(BIN)/dvc metrics diff --precision 8 $(REV)
	@echo "These are all differences from the results of $(REV)."

test: data ## run the tests, except those of `chaos`
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-unit: data ## run the tests that start no process
	$(BIN)/python -m pytest tests/unit

chaos: data ## run the long tests: CHAOS_KILLS (50) kills, full disks, foreign CPUs
	$(BIN)/python -m pytest -o faulthandler_timeout=0 tests/chaos

fuzz: $(READY) ## read five thousand random IDX files, images and parameter files in each test
	$(BIN)/python -m pytest --hypothesis-profile=fuzz -k rejected tests/unit

speedrun: data ## time how fast `fit` reaches the accuracy of the article
	$(BIN)/python benchmarks/speedrun.py --article

lint: $(READY) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

ui: $(READY) ## browse the runs in MLflow, http://127.0.0.1:5000 (PORT=… for another port)
	exec $(BIN)/python src/ui.py --port $(or $(PORT),5000)

dashboard: $(READY) ## browse the studies in optuna-dashboard, http://127.0.0.1:8080 (PORT=…)
	exec $(BIN)/python src/dashboard.py --port $(or $(PORT),8080)

demo: $(READY) ## draw a digit and see the prediction, http://127.0.0.1:7860 (PORT=…)
	$(BIN)/python src/demo.py --port $(or $(PORT),7860)

serve: $(READY) ## serve the champion, http://127.0.0.1:5001/invocations (PORT=…)
	exec $(BIN)/python src/serve.py --port $(or $(PORT),5001)
