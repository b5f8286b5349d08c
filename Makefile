# `make` prints what one can do. Needs git, make and Python 3.11; everything else comes into .venv.
.DEFAULT_GOAL := help
.PHONY: help setup run ablate categories tune bench new-market test lint lab docs lock clean
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE :=  # pip compiles nothing (it would take longer): what is imported is compiled once, and kept

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/stamp data  ## create .venv with the locked packages and fetch data/

new-market: setup  ## look at a market's tables and add it: name=coffee category=COFFEE [tables=… rename=…]
	@python -m shelfcast.new_market $(name) $(if $(category),--category "$(category)") $(if $(tables),--tables $(tables)) $(if $(rename),--rename "$(rename)")

run: setup  ## run the pipeline to the report; a second run does only what changed
	@python -m shelfcast.tables fetch
	dvc repro
	@for page in reports/*/index.html; do echo "report: file://$(CURDIR)/$$page"; done

ablate: setup  ## train what shows the worth of each modality (hours; goes on where it was stopped)
	dvc repro ablation/dvc.yaml
	python -m shelfcast.ablate $$(ls build/*/ablation -d | cut -d/ -f2)

categories: setup  ## score the base against the strongest alternative on many categories, and by how much history (two hours)
	dvc repro
	dvc repro categories/dvc.yaml

tune: setup  ## search for better settings of a model, and propose them (goes on where it was stopped)
	dvc repro
	dvc repro --single-item --force tune/dvc.yaml

bench: setup  ## peers side by side on a market that was run: seconds, memory, accuracy [market=soft_drinks]
	python -m pip install --disable-pip-version-check -q --no-compile -c requirements.lock -e '.[bench]'
	python benchmarks/peers.py $(or $(market),soft_drinks)

test: setup  ## run all tests
	python -m pytest

lint: .venv/stamp  ## check code and notebooks
	ruff check
	ruff format --check
	nbstripout --keep-id --verify notebooks/*.ipynb

lab: setup  ## open the notebooks in JupyterLab
	jupyter lab --LabApp.default_url=/lab/tree/notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

docs: setup  ## fill the tables of README and cards from the latest run
	python docs/fill.py

lock: .venv/stamp  ## resolve pyproject.toml anew into requirements.lock
	uv pip compile --python-version 3.11 --all-extras pyproject.toml -o requirements.lock

clean:  ## remove everything generated and DVC's cache; data/ and .venv stay
	git clean -fdXq build reports dvc_plots .dvc/cache .dvc/tmp .pytest_cache .ruff_cache

.venv/stamp: pyproject.toml requirements.lock
	@for python in python3.11 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then break; fi; \
	  python=; \
	done; \
	test -n "$$python" || { echo "error: Python 3.11 was not found (python3.11, python3). Install it, or use environment.yml."; exit 1; }; \
	echo "$$python -m venv .venv"; $$python -m venv .venv
	python -m pip install --disable-pip-version-check -q --no-compile -c requirements.lock -e '.[dev]'
	@touch $@

data: | .venv/stamp
	python -m shelfcast.tables fetch
