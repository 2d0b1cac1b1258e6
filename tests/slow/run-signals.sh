#!/usr/bin/env bash
# Signals at random moments of `quant run`: the code tells the signal, it stops within a second, a second signal ends at once.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
rounds=${QUANT_SIGNAL_ROUNDS:-50}
RANDOM=${QUANT_TEST_SEED:-15}

# Starts a run that would not end by itself for minutes; job control gives it default signals.
start() {
    set -m
    "$quant" run -m $tiny -p Once -n -1 -c 200000 --ignore-eos -t 2 >/dev/null 2>"$work/err" &
    process=$!
    set +m
}
ends() { # waits a second for the process, longer is a failure; found = its code
    local tries
    for tries in $(seq 100); do
        kill -0 $process 2>/dev/null || break
        sleep 0.01
    done
    if [ "$tries" = 100 ] && kill -0 $process 2>/dev/null; then
        kill -KILL $process
        wait $process 2>/dev/null
        found=late
        return
    fi
    wait $process 2>/dev/null
    found=$?
}
random_moments() {
    local round signal code
    for round in $(seq "$rounds"); do
        case $((round % 3)) in 0) signal=INT code=130 ;; 1) signal=TERM code=143 ;; 2) signal=HUP code=129 ;; esac
        start
        sleep "0.$(printf '%03d' $((RANDOM % 400)))"
        kill -$signal $process
        ends
        [ "$found" = $code ] || { echo "round $round: $signal gave $found: $(tail -n 1 "$work/err")"; return 1; }
    done
}
check signals_at_random_moments random_moments
twice() {
    local round
    for round in $(seq $((rounds / 5))); do
        start
        sleep "0.$(printf '%03d' $((RANDOM % 300)))"
        kill -INT $process
        kill -INT $process 2>/dev/null
        ends
        [ "$found" = 130 ] || { echo "round $round: $found"; return 1; }
    done
}
check two_signals twice
