# Everything a reader runs. Each target first makes its own environment.
SHELL := bash
PYTHON ?= python3.11
VENV ?= .venv
TORCH ?= torch==2.13.0
# PyPI's torch brings gigabytes of CUDA, so a machine without an NVIDIA driver asks
# PyTorch's CPU index as well. Where that cannot be reached, pip warns and goes on.
# `make TORCH_INDEX=` asks PyPI alone.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)

BIN := $(VENV)/bin
MATHJAX := book/_static/mathjax/tex-svg.js
AXE_VERSION := 4.14.1
AXE := .cache/axe-core-$(AXE_VERSION)/axe.min.js
export TIMEFORMAT = make $@: %0lR
# glibc gives every larger tensor back to the system and asks for it again: a third of
# the CPU time of a small model. Kept instead; other allocators do not read these.
export MALLOC_MMAP_MAX_ = 0
export MALLOC_TRIM_THRESHOLD_ = 1000000000000

SIZE ?= embedded
SAMPLE ?= 24
DRAW := -m data_prep.plates
PLANS := $(BIN)/python -m workflow.plans --size
SNAKEMAKE := $(BIN)/snakemake --profile workflow/profiles/local

.PHONY: help venv book book-check pdf readme run studies smoke test wheel check lab bench soak fuzz train clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

venv: $(VENV)/ok  ## make the environment, in .venv (the others do so too)

book: $(VENV)/ok $(MATHJAX)  ## run every notebook, then build the book from them
	time { $(BIN)/python $(DRAW) && $(PLANS) embedded && \
	  $(SNAKEMAKE) book --config sample=$(SAMPLE); }

# Without npm the pages are still opened, and accessibility is skipped with its reason.
book-check: $(VENV)/ok  ## open every page of the built book in Chromium: offline, accessible
	@test -f _build/html/index.html || { echo "no book in _build/html: make book"; exit 1; }
	-$(MAKE) --no-print-directory $(AXE)
	time VICROP_BOOK=_build/html VICROP_PDF=_build/book.pdf VICROP_AXE=$(AXE) \
	  $(BIN)/python -m pytest -q -rs tests/browser

pdf: $(VENV)/ok $(MATHJAX)  ## print the book to _build/book.pdf (after `make book`; needs Chromium)
	@test -d book/executed || { echo "no executed notebooks: make book"; exit 1; }
	time $(BIN)/python workflow/pdf.py

readme: $(VENV)/ok  ## write the README's table of results from the runs that are here
	$(BIN)/python -m workflow.readme --from-runs

run: $(VENV)/ok  ## make another size here: make run SIZE=one-gpu
	$(PLANS) $(SIZE) --check
	time $(SNAKEMAKE) pages --config size=$(SIZE)

# Apart from the book, whose pages would take their runs for its own. Stopped, it goes on;
# packed, the runs are taken away, so that the next time they are made by the code of then.
MADE = $(CURDIR)/.studies/$(or $(MODEL),all)
studies: $(VENV)/ok  ## make the long studies anew that the book reads (half an hour; MODEL=tiny-llava: its alone)
	$(BIN)/python $(DRAW)
	export VICROP_RESULTS=$(MADE); $(PLANS) studies && \
	  time $(SNAKEMAKE) runs --config size=studies $(if $(MODEL),model=$(MODEL)) && \
	  $(BIN)/python -m workflow.studies.packing --model "$(MODEL)" && rm -r $(MADE)

check: $(VENV)/ok  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check vicrop analysis workflow embedded data_prep benchmarks tests notebooks
	$(BIN)/mypy

# Without git, all that is not built.
TRACKED := { git ls-files -z 2>/dev/null || find . \( -name .venv -o -name '.smoke' -o -name .studies \
  -o -name _build -o -path ./data -o -path ./book/executed -o -path ./book/results \) \
  -prune -o -type f -print0; }

# In a copy of the tree, so that a reader's pages and records stay as they are.
smoke: $(VENV)/ok  ## the whole book from a few questions, in .smoke
	rm -rf .smoke && mkdir .smoke
	$(TRACKED) | xargs -0 cp --parents --preserve=timestamps -t .smoke
	cd .smoke && PYTHONPATH=$$PWD $(MAKE) book VENV=$(abspath $(VENV)) SAMPLE=0 \
	  DRAW="$(DRAW) --smoke"

# A worker a core, each with a module or a notebook at a time; it may take 2 GB.
test: $(VENV)/ok  ## run all tests, the notebooks' own defaults among them
	time $(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist loadscope \
	  --no-loadscope-reorder --nbval-lax --nbval-cell-timeout=120 tests notebooks

wheel: $(VENV)/ok  ## try the built wheel alone, in an empty environment
	time $(BIN)/python -m tests.install --torch "$(TORCH)" --index "$(TORCH_INDEX)"

lab: $(VENV)/ok  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

bench: $(VENV)/ok  ## measure ours against the plain way, side by side
	$(BIN)/python -m data_prep.plates
	$(BIN)/python -m benchmarks

soak: $(VENV)/ok  ## kill a sharded workflow a hundred times (some half an hour)
	$(BIN)/python -m tests.soak

fuzz: $(VENV)/ok  ## try the command line with thousands of inputs, drawn anew (some half an hour)
	$(BIN)/python -m tests.fuzz

train: $(VENV)/ok  ## train the six tiny models anew (hours)
	$(BIN)/python -m data_prep.plates
	$(BIN)/python -m embedded.train

# Runs of another size are kept: they may be days of a GPU.
clean:  ## remove what `make book` makes again; the environment and other runs stay
	@if test -x $(BIN)/python; then $(BIN)/python -m workflow.clean; \
	  elif test -e book/results; then echo "kept: book/results, for there is no $(VENV) that tells what can be made again"; fi
	rm -rf .smoke .studies .cache _build book/_static/mathjax
	rm -rf .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info
	find . -name .venv -prune -o -name __pycache__ -exec rm -rf {} +

# torch goes in without hashes: with them, pip would pass over a CPU build.
$(VENV)/ok: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install -q --no-build-isolation --no-deps -e .
	touch $@

$(AXE):
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent axe-core@$(AXE_VERSION) >/dev/null && \
	  tar -xzf axe-core-$(AXE_VERSION).tgz --strip-components=1 package/axe.min.js package/LICENSE

$(MATHJAX): $(VENV)/ok
	mkdir -p $(@D)
	cp $(VENV)/lib/python3*/site-packages/sphinx-mathjax-offline/static/mathjax/$(@F) $@
