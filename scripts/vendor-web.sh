#!/usr/bin/env bash
# Makes what web/assets/vendor holds from the npm packages that crates/gateway/tests/web/package-lock.json names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools="$PWD/crates/gateway/tests/web"
into="${1:-$PWD/web/assets/vendor}"

[[ -d "$tools/node_modules" ]] || npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund

# One file instead of eight, as Lit's own bundles are; lit.d.ts names what is in it.
NODE_PATH="$tools/node_modules" "$tools/node_modules/.bin/esbuild" \
  --bundle --minify --format=esm --target=es2022 --legal-comments=none --log-level=warning \
  --outfile="$into/lit.js" <web/assets/vendor/lit.d.ts
cp "$tools/node_modules/modern-normalize/modern-normalize.css" "$into/normalize.css"
