#!/usr/bin/env bash
# 40 malformed GGUF files through the real program: one line, exit code 1, within memory and time.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
maker=$(dirname "$quant")/tests/malformed_gguf
if [ ! -x "$maker" ]; then
    echo "SKIP malformed_files: needs $maker"
    exit 0
fi
mkdir "$work/files"
"$maker" --write "$work/files" 40
# 256 MiB of address space: a claim in a file never becomes an allocation. Sanitized programs cannot run under it.
limit=262144
if "$quant" --version >/dev/null && (ulimit -v $limit && "$quant" --version) >/dev/null 2>&1; then :; else limit=unlimited; fi
limited() { (ulimit -v $limit && exec ${guard:+$guard 10} "$@"); }
why=
for ((i = 0; i < 40; ++i)); do
    expected=$(cat "$work/files/$i.expected")
    limited "$quant" inspect "$work/files/$i.gguf" >"$work/out" 2>"$work/err" </dev/null
    code=$?
    [ "$code" -eq 1 ] || why="$why; file $i: exit code $code"
    [ "$(wc -l <"$work/err")" -eq 1 ] && grep -qF -- "$expected" "$work/err" ||
        why="$why; file $i: expected '$expected', found '$(head -c 200 "$work/err")'"
done
if [ -z "$why" ]; then echo "ok malformed_files"; else echo "FAIL malformed_files: ${why#; }"; fi
