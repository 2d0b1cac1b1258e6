#!/usr/bin/env bash
# Unusual surroundings: no HOME, foreign locales, closed descriptors, strange names, limits of memory and of files.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=$PWD/models/tiny/tiny-f16.gguf
golden=$PWD/tests/golden/greedy
generate() { "$quant" run -m "$tiny" -f "$golden/tiny-prompt.txt" -n 64 --temp 0 --quiet "$@"; }
is_golden() { cmp "$golden/tiny.txt" -; }

check empty_environment bash -c "env -i '$quant' run -m '$tiny' -f '$golden/tiny-prompt.txt' -n 64 --temp 0 --quiet | cmp - '$golden/tiny.txt'"
locales() { # a locale with comma decimals, where one is installed; and the program never asks for the user's
    local comma=$(locale -a 2>/dev/null | grep -iE '^(de|fr|it|es|pt)_.*utf' | head -n 1)
    LC_ALL=${comma:-de_DE.UTF-8} generate --temp 0.0 --top-p 0.5 | is_golden && LC_ALL=${comma:-de_DE.UTF-8} "$quant" inspect "$tiny" --json >"$work/a" &&
        LC_ALL=C "$quant" inspect "$tiny" --json >"$work/b" && cmp "$work/a" "$work/b" || return 1
    if command -v nm >/dev/null && nm -D --undefined-only "$quant" | grep -E ' (setlocale|newlocale|uselocale)'; then return 1; fi
}
check locale_with_comma_decimals locales

closed_input() { generate <&- | is_golden; }
check standard_input_closed closed_input
closed_all() { "$quant" run -m "$tiny" -p Once -n 3 <&- >&- 2>&-; [ $? = 3 ]; }  # nowhere to write the text
check all_descriptors_closed closed_all
closed_writer() { # what a file opened later must never get is text
    "$quant" quantize "$tiny" "$work/out.gguf" q8_0 <&- >&- 2>&-
    "$quant" inspect "$work/out.gguf" >/dev/null
}
check closed_descriptors_are_not_reused closed_writer

read_only() { mkdir -p "$work/ro" && chmod 500 "$work/ro" && (cd "$work/ro" && generate | is_golden); }
check read_only_folder read_only
strange=$work/$'a\nb\x1b[2J "c"'
names() {
    mkdir -p "$strange" && cp "$tiny" "$strange/m.gguf" && "$quant" run -m "$strange/m.gguf" -p Once -n 1 --verbose >/dev/null 2>"$work/err" || return 1
    ! LC_ALL=C grep -q $'\x1b' "$work/err" && grep -qF 'a\nb\x1b[2J' "$work/err"
}
check names_with_escape_bytes names
long=$(printf 'x%.0s' $(seq 4096))
fails path_of_4096_bytes 3 'name too long' "$quant" inspect "$long"

memory() { # whatever the limit: a result, or one line and the code for memory
    local limit found results=0 refusals=0 least # what the program's own file does not fit into kills it before it starts
    least=$(($(wc -c <"$quant") / 1048576 + 2))
    for limit in $(seq $least 6 260); do
        (ulimit -v $((limit * 1024)) && exec "$quant" run -m "$tiny" -p Once -n 2 --quiet -t 1) >"$work/text" 2>"$work/err"
        found=$?
        case $found in
            0) results=$((results + 1)) ;;
            4) refusals=$((refusals + 1)); [ "$(wc -l <"$work/err")" = 1 ] || { cat "$work/err"; return 1; } ;;
            3) grep -q 'annot allocate memory' "$work/err" || { echo "limit $limit MiB: $(cat "$work/err")"; return 1; } ;;
            127) ;;  # the loader itself found no room
            *) echo "limit $limit MiB: code $found: $(head -n 2 "$work/err")"; return 1 ;;
        esac
    done
    [ $results -gt 3 ] || { echo "$results results, $refusals refusals"; return 1; }
}
check address_space_limits memory
cut_short() { # a mapped model that loses its end while it generates: text, or one line and code 3, never a bare signal
    local round found
    for round in $(seq 20); do
        cp "$tiny" "$work/cut.gguf"
        "$quant" run -m "$work/cut.gguf" -p Once -n 400 -c 500 --ignore-eos --quiet >/dev/null 2>"$work/err" &
        sleep "0.0$((round * 4 % 10))$((round % 7))"
        truncate -s $((round * 300000)) "$work/cut.gguf"
        wait $!
        found=$?
        case $found in 0) ;; 1 | 3) [ "$(wc -l <"$work/err")" = 1 ] || { cat "$work/err"; return 1; } ;; *) echo "round $round: code $found"; return 1 ;; esac
    done
}
check model_cut_short_while_running cut_short
