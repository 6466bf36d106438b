#!/bin/sh
# Makes bench/peers/.venv with the pinned versions of requirements.txt; with --train also those of requirements-train.txt
# (PyTorch and Brevitas, several GB). Usage: sh bench/peers/venv.sh [--train] [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
train=
if [ "${1:-}" = --train ]; then
    train=1
    shift
fi
folder=${1:-"$here/.venv"}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
if [ -n "$train" ]; then
    "$folder/bin/python" -m pip install --quiet --requirement "$here/requirements-train.txt"
fi
echo "ready: $folder/bin/python $here/ptq.py"
