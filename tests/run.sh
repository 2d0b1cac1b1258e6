#!/usr/bin/env bash
# Runs test programs and shell tests, prints failures and skips as they come, ends with `N passed, N failed, N skipped`.
# usage: tests/run.sh PROGRAM... ; each prints `ok NAME`, `FAIL NAME: why` or `SKIP NAME: why` per case, and
# `LOG TEXT` for what belongs in the log.
set -u
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=$(command -v timeout || command -v gtimeout)  # none on a bare macOS: then nothing guards against hangs
for program in "$@"; do
    name=$(basename "$program")
    started=$SECONDS
    ${limit:+$limit "${TEST_TIMEOUT:-600}"} "$program" >"$work/out" 2>"$work/err" </dev/null
    code=$?
    ok=$(grep -c '^ok ' "$work/out")
    bad=$(grep -c '^FAIL ' "$work/out")
    skip=$(grep -c '^SKIP ' "$work/out")
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] && ! { [ "$code" -eq 77 ] && [ "$skip" -gt 0 ]; }; then
        bad=1
        echo "FAIL $name: exit code $code without a failed case"
    fi
    if [ $((ok + bad + skip)) -eq 0 ]; then
        bad=1
        echo "FAIL $name: ran no case"
    fi
    grep -E '^(FAIL|SKIP|LOG) ' "$work/out" | sed -E "s/^(FAIL|SKIP) /\1 $name /; s/^LOG //"
    [ "$bad" -eq 0 ] || tail -20 "$work/err"
    printf '%-28s %4d passed %3d failed %3d skipped %4d s\n' "$name" "$ok" "$bad" "$skip" $((SECONDS - started))
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && { [ "$skipped" -eq 0 ] || [ -z "${FAIL_ON_SKIP:-}" ]; }
