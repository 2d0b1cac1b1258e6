#!/usr/bin/env bash
# Checks that includes go in one direction: each layer may include only the layers in its row. Prints the offenders.
# usage: scripts/check-includes.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

# layer: what it may include besides itself
rules='
base:
formats: base
kernels: base formats
tensor: base formats kernels
gguf: base formats
text: base
model: base formats kernels tensor gguf text
architectures: base formats kernels tensor gguf text model
convert: base formats kernels tensor gguf text model architectures cli
cli: base formats kernels tensor gguf text model architectures
abi: base formats kernels tensor gguf text model architectures
'

files=$(find src models convert quant.h quant.c++ \( -name '*.c++' -o -name '*.h' \) 2>/dev/null | sort)
[ -n "$files" ] || { echo "no sources found" >&2; exit 1; }
# shellcheck disable=SC2086
grep -Hn '^ *# *include *"' $files | awk -v rules="$rules" '
function exists(path,  line, found) {
    if (!(path in known)) { found = (getline line < path) >= 0; close(path); known[path] = found }
    return known[path]
}
function normal(path,  parts, n, i, out, depth) {  # resolves "." and ".."
    n = split(path, parts, "/"); depth = 0
    for (i = 1; i <= n; i++) {
        if (parts[i] == "." || parts[i] == "") continue
        if (parts[i] == ".." && depth > 0) { depth--; continue }
        stack[++depth] = parts[i]
    }
    out = stack[1]
    for (i = 2; i <= depth; i++) out = out "/" stack[i]
    return out
}
function layer(path) {
    if (path == "src/main.c++" || path == "quant.c++") return "top"
    if (path == "quant.h" || path == "src/version.h") return "base"
    if (path ~ /^models\//) return "architectures"
    if (path ~ /^convert\//) return "convert"
    if (path ~ /^src\/[a-z]+\//) { sub(/^src\//, "", path); sub(/\/.*/, "", path); return path }
    return "unknown"
}
BEGIN {
    count = split(rules, rows, "\n")
    for (r = 1; r <= count; r++) {
        if (split(rows[r], sides, ":") < 2) continue
        allowed[sides[1], sides[1]] = 1; named[sides[1]] = 1
        n = split(sides[2], names, " ")
        for (i = 1; i <= n; i++) allowed[sides[1], names[i]] = 1
    }
}
{
    match($0, /^[^:]*/); file = substr($0, 1, RLENGTH)
    rest = substr($0, RLENGTH + 2); line = rest; sub(/:.*/, "", line)
    included = rest; sub(/^[^"]*"/, "", included); sub(/".*/, "", included)
    folder = file; if (!sub(/\/[^\/]*$/, "", folder)) folder = "."
    from = layer(file); target = ""
    tries[1] = normal(folder "/" included); tries[2] = "src/" included; tries[3] = included
    for (i = 1; i <= 3 && target == ""; i++) if (exists(tries[i])) target = tries[i]
    if (target == "") { print file ":" line ": includes " included ", which is nowhere"; bad = 1; next }
    if (from == "top") next
    to = layer(target)
    if (!(from in named)) { print file ":" line ": is in no known layer"; bad = 1; next }
    if (!((from, to) in allowed)) { print file ":" line ": " from " may not include " to " (" included ")"; bad = 1 }
}
END { exit bad }'
