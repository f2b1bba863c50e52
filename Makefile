# Each target makes what it needs, and nothing twice. `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
REV    ?= HEAD
READY  := $(VENV)/.ready

# Stages are run as `python src/….py`: with the environment of this project, whoever calls.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup data repro article compare test chaos fuzz speedrun lint ui dashboard demo serve

help: ## list the targets
	@echo "ui, dashboard, demo and serve take another port by PORT=…"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the locked versions

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

data: $(READY) ## download the data set
	$(BIN)/dvc repro download

repro: $(READY) ## download, tune, train, evaluate: whatever is not up to date
	$(BIN)/dvc repro

article: data ## the article's own protocol, as the DVC experiment `article`
	$(BIN)/dvc exp run --temp --force --name article $$(sed -n 's/^[^#]/--set-param &/p' experiments/article)

compare: $(READY) ## tell in what the results here differ from those of the commit REV (HEAD)
	git --no-pager diff --stat $(REV) -- reports
	$(BIN)/dvc diff --hide-missing $(REV)
	$(BIN)/dvc params diff $(REV)
	$(BIN)/dvc metrics diff --precision 8 $(REV)
	@echo "That is all in which the results here differ from those of $(REV)."

test: data ## run the tests
	$(BIN)/python -m pytest

chaos: data ## kill the pipeline fifty times, fill its disk, …, and see that nothing is lost
	CHAOS_KILLS=$${CHAOS_KILLS:-50} $(BIN)/python -m pytest -o faulthandler_timeout=0 \
		tests/test_recovery.py tests/test_faults.py

fuzz: $(READY) ## feed the readers of IDX, images and parameters five thousand inputs a test
	$(BIN)/python -m pytest --hypothesis-profile=fuzz -k refused \
		tests/test_data.py tests/test_images.py tests/test_params.py

speedrun: data ## time how soon `fit` is as accurate as the article, beside other recipes
	$(BIN)/python benchmarks/speedrun.py --article

lint: $(READY) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

ui: $(READY) ## browse the runs on http://127.0.0.1:5000
	MLFLOW_BACKEND_STORE_URI=$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} \
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	$(BIN)/mlflow ui --host 127.0.0.1 --allowed-hosts 'localhost:*,127.0.0.1:*' --workers 1 \
		$(if $(PORT),--port $(PORT))

dashboard: $(READY) ## browse the studies in optuna-dashboard, on http://127.0.0.1:8080
	exec $(BIN)/python src/dashboard.py --port $(or $(PORT),8080)

demo: $(READY) ## draw a digit and see what the network says, on http://127.0.0.1:7860
	$(BIN)/python src/demo.py --port $(or $(PORT),7860)

serve: $(READY) ## answer with the champion of `make repro` on http://127.0.0.1:5001/invocations
	exec $(BIN)/python src/serve.py --port $(or $(PORT),5001)
