#!/usr/bin/env bash
# Names, in one line, each tool that is missing and where it comes from.
set -euo pipefail
for tool in "$@"; do
  command -v "$tool" >/dev/null 2>&1 && continue
  case "$tool" in
    go) echo "Go is missing: install the version that go.mod names, from your system's packages or go.dev" >&2 ;;
    gcc) echo "gcc is missing (the Kafka client is linked statically): install it from your system's packages" >&2 ;;
    *) echo "$tool is missing: install it from your system's packages" >&2 ;;
  esac
  exit 1
done
