#!/usr/bin/env bash
# Everything that must hold before a change goes in: format, lints, tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
Usage: ./test.sh [--fast]

Installs the Debian packages that the tests need (where it may) and builds the
tools of cargo that they need, then checks shell scripts, format and lints and
runs all tests.

  --fast   leave out the tests that drive a browser
  --help   this text
TEXT
}

fast=false
for argument in "$@"; do
  case "$argument" in
    --fast) fast=true ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

stage() {
  printf '\n== %s ==\n' "$*"
}

# is_there COMMAND: in the PATH, or where Debian keeps servers; those of PostgreSQL in a directory for each version.
is_there() {
  local place
  command -v "$1" >/dev/null && return
  for place in /usr/sbin /usr/lib/postgresql/*/bin; do
    [[ -x "$place/$1" ]] && return
  done
  return 1
}

# as_root COMMAND...: runs it, where that can be done without asking anybody.
as_root() {
  if [[ "$(id -u)" -eq 0 ]]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

may_install() {
  command -v apt-get >/dev/null || return 1
  [[ "$(id -u)" -eq 0 ]] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Each command that is needed, and the package that has it.
needed=(cc:gcc c++:g++ mosquitto:mosquitto initdb:postgresql openssl:openssl shellcheck:shellcheck promtool:prometheus ffprobe:ffmpeg systemd-analyze:systemd node:nodejs npm:npm python3:python3)
if ! $fast; then
  needed+=(chromium:chromium chromedriver:chromium-driver firefox-esr:firefox-esr turnserver:coturn)
fi

install_what_is_missing() {
  local entry missing=()
  for entry in "${needed[@]}"; do
    is_there "${entry%%:*}" || missing+=("${entry##*:}")
  done
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  if [[ ${#missing[@]} -eq 0 ]]; then
    echo "All there."
    return
  fi
  if ! may_install; then
    echo "Missing, and cannot be installed from here: ${missing[*]}" >&2
    echo "On Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
}

# Built once; cargo sees by itself what is there at these versions.
install_cargo_tools() {
  cargo install --quiet --locked cargo-deb@3.8.0
}

# Without nextest. `cargo test` cannot leave targets out, so that --fast names those it wants.
run_with_cargo_test() {
  if ! $fast; then
    cargo test --workspace --all-targets
    return
  fi
  local file name targets=()
  for file in crates/*/tests/*.rs; do
    name=$(basename "$file" .rs)
    [[ "$name" == browser* ]] || targets+=(--test "$name")
  done
  cargo test --workspace --lib --bins "${targets[@]}"
}

run_tests() {
  if ! cargo nextest --version >/dev/null 2>&1; then
    run_with_cargo_test
  elif $fast; then
    cargo nextest run --workspace --all-targets -E 'not binary(/^browser/)'
  else
    cargo nextest run --workspace --all-targets
  fi
}

check_shell_scripts() {
  local scripts
  mapfile -d '' scripts < <(find . -name target -prune -o -name node_modules -prune -o -name '*.sh' -print0)
  shellcheck "${scripts[@]}" .ci/run packaging/debian/* crates/gateway/tests/kurento_script/*
}

stage "Packages"
install_what_is_missing
install_cargo_tools

stage "Shell scripts"
check_shell_scripts

stage "Format"
cargo fmt --all --check

stage "Clippy"
cargo clippy --workspace --all-targets -- -D warnings

stage "Examples in the documentation"
cargo test --workspace --doc --quiet

# Last, so that the end of the output is the runner's summary. Cargo builds the program before the tests that start it.
stage "Tests"
run_tests
