#!/bin/sh
# Run tests in two passes: first, in WORKERS processes and file by file, whatever may share the machine; then, one by
# one, what drives a browser, starts the whole demo or measures how long something takes. Both passes always run.
# Exit status: of the first pass that failed; 5, as pytest's, where neither found a test.
# Usage: run-tests.sh BIN WORKERS MARKERS [ARGUMENTS OF PYTEST]    (MARKERS: pytest's -m, or "" for all tests)
bin=$1 workers=$2 markers=$3
shift 3
shared="not e2e and not browser and not alone"
within=${markers:+"($markers) and "}
"$bin/pytest" -n "$workers" --dist loadfile -m "$within$shared" "$@"
first=$?
"$bin/pytest" -m "${within}not ($shared)" "$@"
second=$?
[ "$first" = 5 ] && exit "$second"
[ "$second" = 5 ] && second=0
[ "$first" = 0 ] && exit "$second"
exit "$first"
