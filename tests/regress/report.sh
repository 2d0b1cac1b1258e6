#!/usr/bin/env bash
# quant report and quantize --report: a page that is valid, complete in itself and fits a phone; refusals.
. "$(dirname "$0")/../cases.sh"

tiny=models/tiny/tiny-f16.gguf
text=models/tiny/sample.txt
head -c 9000 "$text" >"$work/seen.txt"

valid() { ! command -v python3 >/dev/null || scripts/check-page.py "$1"; }

"$quant" quantize -q "$tiny" "$work/q4.gguf" q4_k_m
compared() { "$quant" report -q "$tiny" "$work/q4.gguf" -o "$work/compared.html" && valid "$work/compared.html" && grep -q 'no text was given' "$work/compared.html"; }
check two_files_are_compared compared

# The plain mix that the file is gets the file's own figures: both are computed on ways of their own.
judged() {
    "$quant" report -q "$tiny" "$work/q4.gguf" -o "$work/judged.html" -f "$work/seen.txt" -c 128 --chunks 2 && valid "$work/judged.html" || return 1
    local rows
    rows=$(grep -A6 '<th scope=col>file' "$work/judged.html" | grep -E 'this file|Q4_K_M' | sed 's/<th scope=row>[^<]*//' | sort -u | wc -l)
    [ "$rows" -eq 1 ] || grep -E 'this file|Q4_K_M' "$work/judged.html"
    [ "$rows" -eq 1 ]
}
check a_plain_mix_equals_its_simulation judged

while_quantizing() { # the calibration's own text is what is left: it is said
    "$quant" quantize -q "$tiny" "$work/out.gguf" q4_0 --keep-mix --calibrate "$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 2 --report "$work/out.html" &&
        valid "$work/out.html" && grep -q 'behind the windows of calibration' "$work/out.html"
}
check while_quantizing while_quantizing

hostile() { # a model's name is text, whatever it holds
    "$quant" quantize -q --force "$tiny" "$work/named.gguf" q8_0 --override-kv 'general.name=str:</title><script>alert(1)</script>' --report "$work/named.html" &&
        "$quant" report -q --force "$work/named.gguf" "$work/named.gguf" -o "$work/named.html" &&
        valid "$work/named.html" && grep -q '&lt;/title&gt;&lt;script&gt;' "$work/named.html"
}
check names_are_escaped hostile

fails an_existing_page 2 'compared.html|--force' "$quant" report -q "$tiny" "$work/q4.gguf" -o "$work/compared.html"
fails an_existing_page_while_quantizing 2 'compared.html|--force' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --report "$work/compared.html"
fails a_missing_model 3 'missing.gguf' "$quant" report -q "$tiny" "$work/missing.gguf" -o "$work/no.html"
check nothing_left_behind test ! -e "$work/no.gguf" -a ! -e "$work/no.html"

# Nothing sticks out at the width of a phone, in a browser.
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
fits() {
    printf '<body style="margin:0"><iframe src="judged.html" style="width:360px;height:800px;border:0" onload="const d=this.contentDocument.documentElement;document.title=d.scrollWidth+String.fromCharCode(47)+d.clientWidth"></iframe>' >"$work/frame.html"
    ${guard:+$guard 60} "$browser" --headless=new --no-sandbox --disable-gpu --allow-file-access-from-files --user-data-dir="$work/profile" \
        --virtual-time-budget=5000 --dump-dom "file://$work/frame.html" 2>"$work/browser.log" >"$work/dom.html"
    # The width of the contents and that of the window, less a scroll bar.
    grep -o '<title>[^<]*' "$work/dom.html" | tee "$work/width" | grep -qx '<title>\(3[46][05]\)/\1' || { cat "$work/width" "$work/browser.log"; return 1; }
}
if [ -z "$browser" ]; then echo "SKIP fits_a_phone: no chromium"; else check fits_a_phone fits; fi
