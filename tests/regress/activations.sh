#!/usr/bin/env bash
# Four bits for weights, activations and cache: rounded times Hadamard matrices they cost at most a third.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tail -c 8000 models/tiny/sample.txt >"$work/text.txt"
# table MODEL: the rows of the script; every form must gain, W4A4KV4 as much as is claimed.
table() {
    WINDOWS=2 BASE=models/tiny/tiny-f16.gguf QUANT_BUILD=$(dirname "$quant") scripts/activations.sh "$1" "$work/text.txt" >"$work/table" || return 1
    cat "$work/table"
    awk -F'|' 'NR > 2 { rows++; if ($3 <= 0 || $5 <= 0 || $5 > $3) bad = 1 } / W4A4KV4 / { found = 1; if (3 * $5 > $3) bad = 1 }
        END { exit bad || !found || rows != 4 }' "$work/table"
}
check rotation_pays_at_four_bits table models/tiny/tiny-f16.gguf
outlier=$shared/models/outlier/outlier-f16.gguf
if [ -f "$outlier" ]; then check rotation_pays_on_the_outlier_twin table "$outlier"; else echo "SKIP rotation_pays_on_the_outlier_twin: no $outlier"; fi
