# Everything goes through these targets, here and in CI. Each sets up what it needs in .venv first.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STACKS ?= $(patsubst stacks/Pulumi.%.yaml,%,$(wildcard stacks/Pulumi.*.yaml))
CODE := __main__.py components policies preview runtime benchmarks tests

.PHONY: help preview test lint types bench bench-serving inventories docs clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

preview: .venv/.run ## Preview all stacks, without a cloud account (STACKS="dev prod" for some)
	@$(BIN)/python -m preview $(STACKS)

# Bytecode is kept, also where the shell says otherwise: the tests load the program a hundred times.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/.dev .venv/.training ## Lint, check types, run every test with coverage
	@$(MAKE) --no-print-directory lint types
	$(BIN)/coverage erase
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term --cov-fail-under=95

lint: .venv/.dev ## Check style and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: .venv/.dev ## Check types, strictly
	$(BIN)/basedpyright

bench: .venv/.dev ## Measure import, registration, preview and memory beside the SDK's own floor
	$(BIN)/python -m benchmarks.preview

bench-serving: .venv/.dev ## Put load on the container service, beside plain uvicorn with an empty handler
	$(BIN)/python -m benchmarks.serving

inventories: .venv/.dev ## Write the stacks' inventories anew; `git diff tests/inventories` shows what changed
	$(BIN)/python -m tests.inventory

docs: .venv/.dev ## Write what is generated: the schemas of the stacks' files, the catalogue of the policies
	$(BIN)/python -m components.spec.schema
	$(BIN)/python -m policies.catalogue

clean: ## Remove everything that was made here
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* benchmarks/results out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what the platform needs into .venv (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# An interpreter that can run the training job, for its test: with the distribution's PyTorch (python3-torch); in CI, where
# there is none, with PyPI's.
PIP = -m pip install --quiet --disable-pip-version-check
.venv/.training: runtime/training/requirements.txt runtime/training/requirements-torch.txt | .venv/.run
	@if /usr/bin/python3 -c 'import torch, ensurepip' 2>/dev/null; then \
		/usr/bin/python3 -m venv --clear --system-site-packages .venv/training; \
	elif [ -n "$(CI)" ]; then \
		echo "Installing PyTorch into .venv/training (once, 3 GB) …"; \
		$(PYTHON) -m venv --clear .venv/training && .venv/training/bin/python $(PIP) -r runtime/training/requirements-torch.txt; \
	else \
		echo "The training job will not be tested: install python3-torch, or run 'make CI=1 test' once (3 GB)."; exit 0; \
	fi && .venv/training/bin/python $(PIP) -r runtime/training/requirements.txt && touch $@

.venv/.dev: .venv/.run requirements-dev.txt runtime/serving/requirements.txt
	@echo "Installing what the tests need into .venv (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
