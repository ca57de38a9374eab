#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME (default 30s) each.
set -euo pipefail
cd "$(dirname "$0")/.."
time="${FUZZTIME:-30s}"
grep -rl --include='*_test.go' '^func Fuzz' services schemas contracts 2>/dev/null | sort | while read -r file; do
  package="./$(dirname "$file")"
  grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/^func //' | while read -r target; do
    echo "== $package $target"
    go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null
  done
done
