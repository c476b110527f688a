#!/usr/bin/env bash
# Fetches the Python bindings of two TensorRT versions, which tests/engine/test_bindings.py reads: not installed, since one
# environment holds one of them, and their libraries are not needed. Where there is no wheel for this Python, it says so.
#
#   tools/tensorrt_bindings.sh PYTHON FOLDER
set -euo pipefail
python=${1:?usage: tensorrt_bindings.sh PYTHON FOLDER}
folder=${2:?usage: tensorrt_bindings.sh PYTHON FOLDER}
for wheel in tensorrt-cu12-bindings==10.3.0 tensorrt-cu13-bindings==11.4.0.106; do
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder" "$wheel" ||
    echo "$wheel is not to be had for this Python: its test will be skipped"
done
