#!/bin/sh
# Make sure that a headless chromium is there for the browser tests: Debian's, else playwright's own.
# Never fails: without a browser those tests skip and say so.
bin=$1
command -v chromium >/dev/null 2>&1 && exit 0
command -v chromium-browser >/dev/null 2>&1 && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo -n"
if command -v apt-get >/dev/null 2>&1 && $sudo true 2>/dev/null; then
    echo "Installing chromium for the browser tests"
    $sudo apt-get update -qq && $sudo apt-get install -y -qq chromium >/dev/null 2>&1 && exit 0
fi
echo "Installing playwright's chromium for the browser tests"
"$bin/playwright" install chromium >/dev/null 2>&1 && exit 0
echo "NO BROWSER: the browser tests will be skipped" >&2
exit 0
