#!/bin/sh
# Make sure that a Python 3.11 with venv is there; on Debian and Ubuntu install what is missing.
set -eu
python=$1
if ! command -v "$python" >/dev/null 2>&1; then
    echo "expected $python on the PATH, got none; install Python 3.11 or call make with PYTHON=/path/to/python3.11" >&2
    exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null && exit 0
echo "Python's venv module is missing; installing it"
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq && $sudo apt-get install -y -qq "$(basename "$python")-venv"
