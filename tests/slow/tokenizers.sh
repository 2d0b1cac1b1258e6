#!/usr/bin/env bash
# Token ids against the Python packages `tokenizers` and `sentencepiece`, every fourth line of all texts (`--lines 1` takes all).
set -u
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "SKIP tokenizers-against-python: no python3"; exit 77; }
exec python3 scripts/compare-tokenizers.py --lines 4
