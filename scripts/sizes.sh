#!/usr/bin/env bash
# Size limits: files of at most 600 lines, functions of at most 60. Prints the offenders.
# Kernels per instruction set may be longer, generated tables too (their first line says "Generated").
# usage: scripts/sizes.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"
status=0
while IFS= read -r file; do
    case $file in src/kernels/scalar*|src/kernels/avx*|src/kernels/neon*) continue ;; esac
    if head -n 1 "$file" | grep -q Generated; then continue; fi
    # A function is the outermost block whose head has parentheses and, outside them, no =; around it are namespaces and types.
    awk -v file="$file" '
    function strip(line,  out, i, c, quote, open) {  # without comments, string and character literals
        out = ""; quote = ""
        for (i = 1; i <= length(line); i++) {
            c = substr(line, i, 1)
            if (raw != "") { if (substr(line, i, length(raw)) == raw) { i += length(raw) - 1; raw = "" } ; continue }
            if (comment) { if (substr(line, i, 2) == "*/") { comment = 0; i++ } ; continue }
            if (quote != "") { if (c == "\\") i++; else if (c == quote) quote = ""; continue }
            if (c == "R" && match(substr(line, i), /^R"[a-z]*\(/)) {
                raw = ")" substr(line, i + 2, RLENGTH - 3) "\""; i += RLENGTH - 1; continue
            }
            if (c == "\"" || (c == "\x27" && substr(line, i - 1, 1) !~ /[0-9a-fA-F]/)) { quote = c; continue }
            if (substr(line, i, 2) == "//") break
            if (substr(line, i, 2) == "/*") { comment = 1; i++; continue }
            out = out c
        }
        return out
    }
    function is_function(head) {
        if (head ~ /^ *(template *<.*> *)?(struct|class|enum|union|namespace) /) return 0
        gsub(/operator *[^ (a-z]+/, "operator", head)
        while (gsub(/\([^()]*\)/, "#", head)) {}
        return head ~ /#/ && head !~ /=/
    }
    /^ *#/ { next }
    {
        text = strip($0)
        for (i = 1; i <= length(text); i++) {
            c = substr(text, i, 1)
            if (!inside && c == "(") parens++
            if (!inside && c == ")" && parens > 0) parens--
            if (!inside && parens > 0 && (c == "{" || c == "}")) continue  # a default argument
            if (c == "{") {
                depth++
                if (!inside && is_function(head)) { inside = depth; begin = start ? start : NR; title = head }
                if (!inside) { head = ""; start = 0 }
            } else if (c == "}") {
                if (inside == depth) {
                    lines = NR - begin + 1
                    if (lines > 60) { sub(/^ */, "", title); print file ":" begin ": function of " lines " lines: " substr(title, 1, 80); bad = 1 }
                    inside = 0; head = ""; start = 0
                }
                depth--
                if (!inside) { head = ""; start = 0 }
            } else if (!inside) {
                if (c == ";") { head = ""; start = 0 }
                else if (c != " " || head != "") { if (!start) start = NR; head = head c }
            }
        }
        if (!inside && head != "") head = head " "
    }
    END {
        if (NR > 600) { print file ": " NR " lines"; bad = 1 }
        exit bad
    }' "$file" || status=1
done < <(find src models convert tests quant.h quant.c++ \( -name '*.c++' -o -name '*.h' \) 2>/dev/null | sort)
exit $status
