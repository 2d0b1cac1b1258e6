#!/usr/bin/env bash
# Time and peak memory of `quant convert` on a random Hugging Face folder of 1.1 billion
# BF16 weights, beside a peer's convert_hf_to_gguf.py where one is given. The programs take turns; the folder is in the cache.
# usage: scripts/bench-convert.sh [-n RUNS] [-p PEER_FOLDER] [-y PYTHON] [-w WORK_FOLDER] [-- SIZE_OPTION...]
#   PEER_FOLDER has convert_hf_to_gguf.py, PYTHON (default python3) its packages; WORK_FOLDER (default /tmp) takes 7 GB for a
#   while; SIZE_OPTIONs go to scripts/make-hf-folder.py. Needs Linux, python3 with numpy and a SentencePiece file (QUANT_SHARED).
set -eu
cd "$(dirname "$0")/.."
runs=2 peer='' python=python3 folder=${TMPDIR:-/tmp}
while getopts n:p:y:w: option; do
    case $option in
        n) runs=$OPTARG ;; p) peer=$OPTARG ;; y) python=$OPTARG ;; w) folder=$OPTARG ;;
        *) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
quant=$(realpath "${QUANT_BUILD:-build}")/quant
tokenizer=${QUANT_SHARED:-../shared}/vocab/llama2/tokenizer.model
[ -f "$tokenizer" ] || { echo "bench-convert: needs $tokenizer (QUANT_SHARED)" >&2; exit 3; }
work=$(mktemp -d -p "$folder")
trap 'rm -rf "$work"' EXIT
python3 scripts/make-hf-folder.py "$work/model" "$tokenizer" "$@"
bytes=$(cat "$work"/model/*.safetensors | wc -c)

# measured NAME COMMAND...: one row. Anonymous memory is sampled, its peak may lie between two samples.
measured() {
    local name=$1 process started ended anonymous=0 resident=0 key value
    shift
    rm -f "$work"/out*
    cat "$work"/model/*.safetensors >/dev/null
    started=$(date +%s%N)
    "$@" >"$work/log" 2>&1 &
    process=$!
    while [ -r /proc/$process/status ]; do
        while read -r key value _; do
            case $key in
                RssAnon:) [ "$value" -le "$anonymous" ] || anonymous=$value ;;
                VmHWM:) resident=$value ;;
            esac
        done 2>/dev/null </proc/$process/status || break
        sleep 0.01
    done
    wait $process || { echo "bench-convert: $name failed: $(tail -n 1 "$work/log")" >&2; exit 1; }
    ended=$(date +%s%N)
    awk -v name="$name" -v ns=$((ended - started)) -v bytes="$bytes" -v anonymous=$anonymous -v resident=$resident \
        'BEGIN { printf "| %-20s | %7.1f | %6.0f | %10.0f | %14.0f |\n", name, ns / 1e9, bytes / (ns / 1e9) / 1e6, resident / 1024, anonymous / 1024 }'
}

echo "$((bytes / 1000000)) MB of BF16"
echo "| program              | seconds |   MB/s | peak MiB   | anonymous MiB  |"
echo "| -------------------- | ------: | -----: | ---------: | -------------: |"
for _ in $(seq "$runs"); do
    measured "quant convert" "$quant" convert "$work/model" "$work/out.gguf" --quiet
    [ -z "$peer" ] || measured "convert_hf_to_gguf.py" "$python" "$peer/convert_hf_to_gguf.py" "$work/model" --outfile "$work/out.gguf" --outtype bf16
done
