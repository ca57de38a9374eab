#!/usr/bin/env bash
# Everything that proves the platform, in one go test run: unit and property tests, integration over real protocols on
# the embedded stack (and on the Apache stack where Java and Maven are), whole processes; all under the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh go gcc
if command -v java >/dev/null 2>&1 && command -v mvn >/dev/null 2>&1; then
  export STREAMFORGE_APACHE="${STREAMFORGE_APACHE:-1}"
fi
# The programs that the process tests run, and the parts of the local stacks, are prepared once, before the clock of any
# single test runs.
make --no-print-directory build
bin/streamforge install --stack "$([ "${STREAMFORGE_APACHE:-0}" = 1 ] && echo apache || echo embedded)"
# Packages run two at a time: each of them starts brokers and engines of its own. The processes' tests are the longest and
# mostly wait, so that they begin first and everything else runs beside them.
exec go test -race -p 2 -timeout 40m ./services/streamforge ./services/streamforge/evolution ./...
