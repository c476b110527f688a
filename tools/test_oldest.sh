#!/usr/bin/env bash
# Runs the tests of smartbin and device as on JetPack 6: Python 3.10, numpy 1.26, OpenCV 4, torch absent.
# Without a Python 3.10 it says so and does nothing, except in CI (CI=true), where that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
env=.venv-oldest

find_python() {
  local candidate
  for candidate in python3.10 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

python=$(find_python)
if [ -z "$python" ]; then
  echo "test-oldest: no Python 3.10 here (python3.10, pyenv): these tests were NOT run" >&2
  [ "${CI:-}" != true ]
  exit
fi
if [ ! -f "$env/.done" ] || [ pyproject.toml -nt "$env/.done" ]; then
  "$python" -m venv "$env"
  "$env/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[page]' \
    'numpy==1.26.*' 'opencv-python-headless==4.8.*' 'onnx>=1.17' 'pytest>=8.2' 'pytest-timeout>=2.3' 'hypothesis>=6.100' \
    'paho-mqtt>=2.0' 'gpiozero>=2.0' 'pyserial>=3.5' 'httpx2>=2.14' 'cryptography>=41'
  touch "$env/.done"
fi
"$env/bin/python" -c 'import cv2, numpy, sys; print("oldest: Python", sys.version.split()[0], "numpy", numpy.__version__, "OpenCV", cv2.__version__)'
if "$env/bin/python" -c 'import torch' 2>/dev/null; then
  echo "test-oldest: torch is installed in $env, which should be without it" >&2
  exit 1
fi
compgen -G ".venv/tensorrt-bindings/*-cp310-*.whl" >/dev/null ||
  tools/tensorrt_bindings.sh "$env/bin/python" .venv/tensorrt-bindings # JetPack 6 is TensorRT 10.3 on Python 3.10
exec "$env/bin/python" -m pytest -q tests/smartbin tests/engine tests/device tests/golden
