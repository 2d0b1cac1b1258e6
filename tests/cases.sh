# Sourced by shell tests: a work folder, the program under test, and named cases.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
quant=$(realpath "${QUANT_BUILD:-build}")/quant
shared=${QUANT_SHARED:-../shared}
work=$(mktemp -d)
guard=$(command -v timeout || command -v gtimeout)  # none on a bare macOS
# Of this shell alone: one that has just been forked has its traps until it has started a program, and may meet a signal by then.
trap 'if [ "$BASHPID" -eq $$ ]; then chmod -R u+w "$work"; rm -rf "$work"; fi' EXIT

# What `make test` has shown, and takes long, is not repeated by `make full`.
shown_by_test() { [ -n "${QUANT_FULL_TESTS:-}" ]; }

# check NAME COMMAND...: the command must succeed; what it prints says why it did not.
check() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then echo "ok $name"; else echo "FAIL $name: $(head -n 5 "$work/out" | tr '\n' ';')"; fi
}

# fails NAME CODE WORDS COMMAND...: the command must end with this code, print nothing on standard output and one line on
# standard error, which holds all of WORDS (separated by |).
fails() {
    local name=$1 code=$2 words=$3 found word
    shift 3
    ${guard:+$guard 60} "$@" >"$work/out" 2>"$work/err" </dev/null
    found=$?
    if [ "$found" -ne "$code" ]; then
        echo "FAIL $name: exit code $found instead of $code: $(head -c 300 "$work/err" | tr '\n' ';')"
        return
    fi
    if [ -s "$work/out" ]; then echo "FAIL $name: printed on standard output"; return; fi
    if [ "$(wc -l <"$work/err")" -ne 1 ]; then
        echo "FAIL $name: $(wc -l <"$work/err") lines on standard error: $(head -n 3 "$work/err" | tr '\n' ';')"
        return
    fi
    while [ -n "$words" ]; do
        word=${words%%|*}
        case $words in *'|'*) words=${words#*|} ;; *) words='' ;; esac
        if ! grep -qF -- "$word" "$work/err"; then echo "FAIL $name: does not say '$word': $(cat "$work/err")"; return; fi
    done
    echo "ok $name"
}
