#!/usr/bin/env bash
# Builds the Debian package of Apiary for this machine, and prints where it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/build-deb.sh [OPTIONS OF cargo deb]

Builds apiary_VERSION_ARCHITECTURE.deb in target/debian. Needs cargo-deb:

  cargo install --locked cargo-deb

The package depends on the versions of the C libraries that this machine has: build on the oldest Debian that it is for.
TEXT
}

case "${1:-}" in
  --help | -h)
    usage
    exit 0
    ;;
esac

if ! cargo deb --version >/dev/null 2>&1; then
  usage >&2
  exit 1
fi

exec cargo deb --locked --package apiary "$@"
