# `make help` lists the targets. Needed: Python 3.11 with venv, g++, make and perl; the rest is installed in .venv.

PYTHON ?= python3.11
BIN := .venv/bin
RUN := $(BIN)/python -m
SET_UP := .venv/.set-up
BOARD ?= pynq_z2

# Two test workers share the machine's cores; more threads in each would only get in the way.
export OMP_NUM_THREADS ?= 1

# For the images: the flow's options, what is cached between builds, and the vendor's tools and
# licences where this machine has them.
TARGET ?= build
FLOW ?=
STORE ?= $(HOME)/.cache/narrowgauge-docker
TOOLS := $(foreach name,XILINX_VIVADO XILINX_VITIS XILINX_HLS,$(if $($(name)),\
    --volume $($(name)):$($(name)):ro --env $(name)))
LICENCES := $(foreach name,XILINXD_LICENSE_FILE LM_LICENSE_FILE,$(if $($(name)),--env $(name)))
LICENCES += $(if $(strip $(LICENCES)),--network host)
LICENCES += $(foreach path,$(wildcard $(filter /%,$(subst :, ,$(XILINXD_LICENSE_FILE):$(LM_LICENSE_FILE)))),\
    --volume $(path):$(path):ro)
BUILD_ARGUMENTS := $(foreach name,BASE_IMAGE SNAPSHOT TORCH_INDEX PIP_INDEX_URL PIP_EXTRA_INDEX_URL,\
    $(if $(filter-out undefined,$(origin $(name))),--build-arg $(name)="$($(name))"))

.PHONY: help setup demo notebooks strip command-line docs test test-all lint format lock clean docker-image docker-build

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1 #/p' $(MAKEFILE_LIST) | awk -F ' # *' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(SET_UP)  ## install everything, pinned, in .venv (TORCH_INDEX=URL for another build of torch)

$(SET_UP): requirements.lock requirements.in pyproject.toml setup.sh
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" bash setup.sh
	@touch $@

demo: $(SET_UP)  ## train a binarised network, and see its RTL classify the test set bit for bit
	$(RUN) training.train training/configs/digits_w1a1.toml --out runs/demo --overwrite
	$(RUN) training.export runs/demo
	$(RUN) hw_build.flow run runs/demo --board $(BOARD) --target-fps 1000000 --output class

notebooks: .venv/.notebooks  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

strip:  ## take outputs out of the notebooks, which are kept without
	python3 .ci/strip_notebooks.py notebooks

command-line: $(SET_UP)  ## write the page on the commands, and what completes them in a shell
	$(BIN)/python .ci/command_line.py

docs: .venv/.docs  ## build the documentation as a site in site/
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict  # no notice of another project

# What only JupyterLab or the documentation needs is installed when it is first asked for.
.venv/.%: requirements-%.lock $(SET_UP)
	$(RUN) pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

test: $(SET_UP)  ## the tests
	$(RUN) pytest -q -n 2 --dist loadscope -m "not nightly"

test-all: $(SET_UP)  ## the tests, and the nightly ones that take long
	$(RUN) pytest -q -n 2 --dist loadscope

docker-image:  ## the image narrowgauge:TARGET (TARGET=train, build or ci)
	docker build --target $(TARGET) $(strip $(BUILD_ARGUMENTS)) --tag narrowgauge:$(TARGET) .

docker-build: docker-image  ## the flow in a container: MODEL=runs/NAME (BOARD=..., FLOW="options")
	@case "$(MODEL)" in runs/?*) ;; *) \
	    echo "MODEL is a run or an .onnx file below runs/: make docker-build MODEL=runs/digits" >&2; \
	    exit 2;; esac
	@mkdir -p "$(STORE)" runs  # docker would make them root's
	docker run --rm --init --user $$(id -u):$$(id -g) --volume "$(CURDIR)/runs:/narrowgauge/runs" \
	    --volume "$$(realpath "$(STORE)"):/store" --env NARROWGAUGE_STORE=/store \
	    $(strip $(TOOLS) $(LICENCES)) narrowgauge:$(TARGET) \
	    python -m hw_build.flow run "$(MODEL)" --board $(BOARD) $(FLOW)

lint: $(SET_UP)  ## style and likely bugs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(SET_UP)  ## put every file in the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## resolve requirements*.in into requirements*.lock (needs uv on the PATH)
	for part in "" -notebooks -docs; do \
	    uv pip compile requirements$$part.in --output-file requirements$$part.lock \
	        --generate-hashes --no-emit-package torch --python-version 3.11 \
	        --python-platform linux --custom-compile-command "make lock" || exit; \
	done

clean:  ## remove what was installed and cached here; runs/ stays
	rm -rf .venv .venv-* site .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
