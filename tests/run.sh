#!/usr/bin/env bash
# Runs test programs and shell tests, prints failures and skips as they come, ends with `N passed, N failed, N skipped`.
# usage: tests/run.sh PROGRAM... ; each prints `ok NAME`, `FAIL NAME: why` or `SKIP NAME: why` per case, and
# `LOG TEXT` for what belongs in the log. environment: TEST_TIMEOUT seconds for each (default 600); TEST_JOBS of them at once
# (default 1), reported in their order
set -u
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=$(command -v timeout || command -v gtimeout)  # none on a bare macOS: then nothing guards against hangs

run() { # INDEX PROGRAM
    local started=$SECONDS
    ${limit:+$limit "${TEST_TIMEOUT:-600}"} "$2" >"$work/$1.out" 2>"$work/$1.err" </dev/null
    echo "$? $((SECONDS - started))" >"$work/$1.ended"
    mv "$work/$1.ended" "$work/$1.code"
}

report() { # INDEX PROGRAM
    local name ok bad skip code seconds
    name=$(basename "$2")
    read -r code seconds <"$work/$1.code"
    ok=$(grep -c '^ok ' "$work/$1.out")
    bad=$(grep -c '^FAIL ' "$work/$1.out")
    skip=$(grep -c '^SKIP ' "$work/$1.out")
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] && ! { [ "$code" -eq 77 ] && [ "$skip" -gt 0 ]; }; then
        bad=1
        echo "FAIL $name: exit code $code without a failed case"
    fi
    if [ $((ok + bad + skip)) -eq 0 ]; then
        bad=1
        echo "FAIL $name: ran no case"
    fi
    grep -E '^(FAIL|SKIP|LOG) ' "$work/$1.out" | sed -E "s/^(FAIL|SKIP) /\1 $name /; s/^LOG //"
    [ "$bad" -eq 0 ] || tail -20 "$work/$1.err"
    printf '%-28s %4d passed %3d failed %3d skipped %4d s\n' "$name" "$ok" "$bad" "$skip" "$seconds"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

jobs=${TEST_JOBS:-1} next=0 i=0
programs=("$@")
report_finished() {
    while [ "$next" -lt "${#programs[@]}" ] && [ -e "$work/$next.code" ]; do
        report "$next" "${programs[$next]}"
        next=$((next + 1))
    done
}
for program in "$@"; do
    if [ "$jobs" -le 1 ]; then
        run "$i" "$program"
    else
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        run "$i" "$program" &
    fi
    report_finished
    i=$((i + 1))
done
wait
report_finished
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && { [ "$skipped" -eq 0 ] || [ -z "${FAIL_ON_SKIP:-}" ]; }
