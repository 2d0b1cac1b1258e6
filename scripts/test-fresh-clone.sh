#!/usr/bin/env bash
# A newcomer's first command, to be run by hand before a release (continuous integration is such a clone itself): what is committed, alone in an empty folder, builds and shows `make try`.
set -u
cd "$(dirname "$0")/.."
if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo "SKIP fresh_clone: needs git and a repository"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q . "$work/quant"
cd "$work/quant" || exit 1
env -u MAKEFLAGS -u MAKELEVEL -u BUILD -u QUANT_BUILD -u QUANT_SHARED make try >"$work/out" 2>"$work/err" </dev/null
code=$?
if [ "$code" -ne 0 ]; then
    echo "FAIL fresh_clone_try: exit code $code: $(tail -n 5 "$work/err" | tr '\n' ';')"
    exit 0
fi
echo "ok fresh_clone_try"
ratio=$(sed -n 's/.* \([0-9.]*\) times that of f16.*/\1/p' "$work/out")
if awk -v r="${ratio:-0}" 'BEGIN { exit !(r > 0.9 && r < 1.02) }'; then
    echo "ok fresh_clone_ratio"
else
    echo "FAIL fresh_clone_ratio: '${ratio}'"
fi
if [ -z "$(git status --porcelain)" ]; then echo "ok fresh_clone_stays_clean"; else echo "FAIL fresh_clone_stays_clean: $(git status --porcelain | head -n 3 | tr '\n' ';')"; fi
