# `make` prints what one can do. Needs git, make and Python 3.11; everything else comes into .venv.
.DEFAULT_GOAL := help
.PHONY: help setup run base new-market test test-fast lint lab whatif serve docs bench ablate categories controls transfer tune choices retailers any-retailer scenes lock clean
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE :=  # pip compiles nothing (it would take longer): imports are compiled once

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/stamp data  ## create .venv with the locked packages and fetch data/

# dvc.lock records a run on one machine, and results differ in the third digit from one kind of CPU to another: this
# machine's own is in place while the pipeline runs and lies in build/ else, so that a run leaves git's tree clean.
# `make docs` is where a maintainer's run enters git.
run: setup  ## run the pipeline to the report; a second run does only what changed
	@python -m shelfcast.data.files fetch
	@python -m shelfcast.pipeline.own_lock python -m shelfcast.pipeline.side_by_side
	@for page in reports/index.html reports/*/index.html; do echo "report: file://$(CURDIR)/$$page"; done

base: setup  ## train the base in models/base again (half an hour): its frozen stage is thawed for it
	@sed -i.frozen 's/frozen: true/frozen: false/' dvc.yaml
	dvc repro --single-item --force base; status=$$?; mv dvc.yaml.frozen dvc.yaml; exit $$status

new-market: setup  ## read a market's tables and add it: name=coffee category=COFFEE [tables=… rename=…]
	@python -m shelfcast.pipeline.new_market $(name) $(if $(category),--category "$(category)") $(if $(tables),--tables "$(tables)") $(if $(rename),--rename "$(rename)")

test: setup  ## run all tests, on all cores
	python -m pytest -n auto

test-fast: setup  ## run the tests that take no more than a few seconds each
	python -m pytest -n auto -m "not slow"

lint: .venv/stamp  ## check code and notebooks
	ruff check
	ruff format --check
	nbstripout --keep-id --verify $$(git ls-files '*.ipynb')

lab: setup  ## open the notebooks in JupyterLab
	jupyter lab --LabApp.default_url=/lab/tree/notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

whatif: setup  ## a page to try other prices and promotions, after `make run` [market=simulated] [port=8866]
	@mkdir -p build/$(or $(market),simulated)/notebooks
	papermill --prepare-only notebooks/whatif.ipynb build/$(or $(market),simulated)/notebooks/whatif.ipynb -p market $(or $(market),simulated)
	JUPYTER_PATH=$(CURDIR)/notebooks voila build/$(or $(market),simulated)/notebooks/whatif.ipynb --template=offline --Voila.ip=127.0.0.1 --port=$(or $(port),8866) --no-browser

serve: setup  ## a service of forecasts that move with events, after `make run` [market=soft_drinks] [port=8877]
	@exec python -m shelfcast.live.service $(or $(market),soft_drinks) $(if $(port),--port $(port))

docs: setup  ## publish the latest run's results to docs/results, fill the documents' tables, draw the report
	python docs/fill.py

bench: setup  ## peers side by side on a market that was run: seconds, memory, accuracy [market=soft_drinks]
	python -m pip install --disable-pip-version-check -q --no-compile -c requirements.lock -e '.[bench]'
	python -m benchmarks.peers $(or $(market),soft_drinks)

ablate: setup  ## study: what each data source contributes (hours; resumable)
	dvc repro studies/ablation/dvc.yaml
	python -m studies.ablation.ablation $$(ls build/studies/ablation)

categories: setup  ## study: the model against boosted trees over many categories (an hour and a half; resumable)
	dvc repro studies/categories/dvc.yaml

controls: setup  ## study: controls and upper bounds of each market (half an hour), after `make run`
	dvc repro studies/controls/dvc.yaml
	python -m studies.controls.controls $$(ls build/studies/controls)

choices: setup  ## study: settings of the training over markets of different kinds (minutes each; resumable) folder=…
	python -m studies.choices.choices $(folder)

retailers: setup  ## study: methods on any folder of retailers (minutes each; resumable) folder=…
	python -m studies.retailers.retailers $(folder)

any-retailer: setup  ## study: what a base for any market brings to retailers it has not seen (hours; resumable) folder=…
	python -m studies.any_retailer.any_retailer $(folder)

scenes: setup  ## study: spare parts, parcels and accounts through the pipeline (minutes each; resumable) [name=parcels]
	python -m studies.scenes.scenes $(name)

transfer: setup  ## study: what the base brings, by length of history (three quarters of an hour; resumable)
	dvc repro studies/transfer/dvc.yaml

tune: setup  ## study: search for better settings of a variant, and propose them (resumable)
	dvc repro --single-item --force studies/tune/dvc.yaml

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
	python -m shelfcast.data.files fetch
