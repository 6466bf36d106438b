#!/bin/sh
# Makes bench/peers/.venv with the pinned versions of requirements.txt. Usage: sh bench/peers/venv.sh [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-"$here/.venv"}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
echo "ready: $folder/bin/python $here/ptq.py"
