#!/usr/bin/env bash
# `quant quantize` when it is killed, stopped, out of room or not alone: the output is the old file or the complete new one.
# Full figures of the promises in README, "Safety"; the same rules in process: tests/unit/gguf_faults.c++.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=$(realpath models/tiny/tiny-f16.gguf)
cd "$work" || exit 1
seed=${QUANT_SEED:-1}
RANDOM=$seed
mkdir out
"$quant" quantize --quiet "$tiny" new.gguf q8_0 2
"$quant" quantize --quiet "$tiny" old.gguf q4_0 2
old=$(sha256sum <old.gguf) new=$(sha256sum <new.gguf)

begin() { # HALF: with the old file or without
    rm -rf out && mkdir out
    if [ "$1" -eq 1 ]; then cp old.gguf out/x.gguf; fi
}
# state HALF: prints what is wrong with the output, nothing when it is old or new.
state() {
    local found
    if [ ! -e out/x.gguf ]; then
        [ "$1" -eq 0 ] || echo "the old file is gone"
        return
    fi
    found=$(sha256sum <out/x.gguf)
    [ "$found" = "$new" ] || { [ "$1" -eq 1 ] && [ "$found" = "$old" ]; } || echo "neither old nor new"
}
temporaries() { find out -name '.x.gguf.*' | wc -l; }
result() { if [ -z "$2" ]; then echo "ok $1"; else echo "FAIL $1: $2 (seed $seed)"; fi; }
# Seconds of one whole run, for random delays over it: the median of some, because other work comes and goes.
# Nearly twice as long, because beside what the loop starts a run takes longer: about half of all runs are met at work.
timed() { { TIMEFORMAT=%R; time "$quant" quantize --quiet --force "$tiny" timed.gguf q8_0 2; } 2>&1 | tail -n 1; }
whole=$(for _ in 1 2 3 4 5 6 7 8; do timed; done | sort -n | sed -n 4p)
delay() { awk -v r="$RANDOM" -v w="$whole" 'BEGIN { printf "%.4f", r / 32768 * w * 1.8 }'; }

# kill -9 at random moments; what a killed run leaves goes with the next one.
why='' finished=0 rounds=500
for ((i = 0; i < rounds; ++i)); do
    begin $((i % 2))
    wait=$(delay) # known before the run begins, which takes no longer than a few programs take to start
    "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 2 &
    pid=$!
    sleep "$wait"
    kill -KILL $pid 2>/dev/null || finished=$((finished + 1))
    wait $pid 2>/dev/null
    bad=$(state $((i % 2)))
    [ -z "$bad" ] || why="$why; round $i: $bad"
    if [ $((i % 50)) -eq 0 ]; then
        "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 2 || why="$why; the next run failed"
        [ "$(sha256sum <out/x.gguf)" = "$new" ] && [ "$(temporaries)" -eq 0 ] || why="$why; the next run left something"
    fi
done
[ $finished -lt $((rounds * 3 / 4)) ] || why="$why; only $((rounds - finished)) of $rounds runs were killed at work"
result killed_at_random "$why"

# SIGINT, SIGTERM, SIGHUP: the documented code, nothing left behind.
for row in INT:130 TERM:143 HUP:129; do
    signal=${row%:*} code=${row#*:} why='' stopped=0
    # More where other work keeps the delays from meeting them.
    for ((i = 0; i < 200 || (stopped < 50 && i < 800); ++i)); do
        begin $((i % 2))
        wait=$(delay)
        env --default-signal="$signal" "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 2 2>err &
        pid=$!
        sleep "$wait"
        kill -"$signal" $pid 2>/dev/null
        wait $pid 2>/dev/null
        found=$?
        bad=$(state $((i % 2)))
        [ -z "$bad" ] || why="$why; round $i: $bad"
        # Very early the handler is not installed yet: then the system's own end, with the same code.
        case $found in 0) ;; "$code") stopped=$((stopped + 1)) ;; *) why="$why; round $i: exit code $found" ;; esac
        [ "$(temporaries)" -eq 0 ] || why="$why; round $i left a temporary"
    done
    [ $stopped -ge 50 ] || why="$why; only $stopped of $i runs were stopped at work"
    result "stopped_by_$signal" "$why"
done

# SIGKILL at each writing call: every name swept on its own, since strace counts per name.
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    why='' hits=0
    for call in openat write fchmod fsync close rename unlink; do
        reached=0
        for ((k = 1; k <= 400; ++k)); do
            [ "$call" != write ] || [ $k -le 20 ] || [ $((k % 10)) -eq 0 ] || continue
            begin $((k % 2))
            # strace ends as the program did; the braces take the shell's notice of it.
            { strace -f -o trace -e trace="$call" -e inject="$call:signal=KILL:when=$k" \
                "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 1; } 2>/dev/null
            grep -q 'killed by SIGKILL' trace || break
            reached=1 hits=$((hits + 1))
            bad=$(state $((k % 2)))
            [ -z "$bad" ] || why="$why; $call $k: $bad"
        done
        [ $reached -eq 1 ] || [ $call = unlink ] || why="$why; $call was never reached"
    done
    [ $hits -ge 40 ] || why="$why; only $hits calls"
    result killed_at_each_call "$why"

    # Calls of one name before the program opens its input belong to the loader.
    first_call() {
        strace -f -o trace -e trace=openat,"$1" "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 1
        awk -v name="$1(" -v input="$tiny" 'index($0, input) { opened = 1 } !opened && index($0, name) { ++n } END { print n + 1 }' trace
    }
    why='' injected=0
    for fault in write:ENOSPC write:EIO write:EDQUOT write:EINTR fsync:EIO rename:EACCES rename:EXDEV openat:EMFILE openat:EACCES close:EIO mmap:ENOMEM; do
        first=$(first_call "${fault%:*}")
        for ((k = first; k < first + 60; ++k)); do
            begin $((k % 2))
            strace -f -o trace -e trace="${fault%:*}" -e inject="${fault%:*}:error=${fault#*:}:when=$k" \
                "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 1 >/dev/null 2>err
            code=$?
            grep -q INJECTED trace || break
            injected=$((injected + 1))
            bad=$(state $((k % 2)))
            [ -z "$bad" ] || why="$why; $fault $k: $bad"
            case $code in 0 | 3 | 4) ;; *) why="$why; $fault $k: exit code $code" ;; esac
            [ "$(temporaries)" -eq 0 ] || why="$why; $fault $k left a temporary"
        done
    done
    [ $injected -ge 100 ] || why="$why; only $injected injections"
    result system_calls_fail "$why"
    begin 0
    strace -f -o trace -e trace=fsync,rename "$quant" quantize --quiet "$tiny" out/x.gguf q8_0 1
    order=$(sed -n 's/^[0-9]* *\([a-z]*\)(.*/\1/p' trace | tr '\n' ' ')
    [ "$order" = "fsync rename fsync " ] && result synced_before_and_after_rename "" || result synced_before_and_after_rename "order: $order"
else
    echo "SKIP killed_at_each_call: needs strace"
fi

# A file size limit is an error, not a signal.
why=''
for blocks in 1 100 2000 4000; do
    begin 1
    (ulimit -f $blocks && "$quant" quantize --quiet --force "$tiny" out/x.gguf q8_0 2) 2>err
    code=$?
    [ $code -eq 3 ] && [ -z "$(state 1)" ] && [ "$(temporaries)" -eq 0 ] && [ "$(wc -l <err)" -eq 1 ] || why="$why; $blocks blocks: exit code $code, $(head -c 200 err)"
done
result file_size_limit "$why"

# A full disk, for real: 30 sizes from 64 KiB to the output and 4 KiB more.
size=$(stat -c %s new.gguf)
cat >full.sh <<'END'
quant=$1 tiny=$2 size=$3
for ((i = 0; i < 30; ++i)); do
    room=$((65536 + (size + 4096 - 65536) * i / 29))
    mkdir -p disk && mount -t tmpfs -o size=$room tmpfs disk || exit 9
    room=$(($(stat -f -c %a disk) * $(stat -f -c %S disk)))
    "$quant" quantize --quiet "$tiny" disk/x.gguf q8_0 2 2>err
    code=$?
    if [ $room -ge $size ]; then
        [ $code -eq 0 ] || echo "room for $room: exit code $code: $(cat err)"
    else
        [ $code -eq 3 ] && grep -q 'needs .*free there' err || echo "room for $room: exit code $code: $(cat err)"
        [ -z "$(ls -A disk)" ] || echo "room for $room: left $(ls -A disk)"
    fi
    umount disk
done
mkdir -p disk && mount -t tmpfs -o nr_inodes=1 tmpfs disk
"$quant" quantize --quiet "$tiny" disk/x.gguf q8_0 2 2>err && echo "no free inode: success"
umount disk
END
if unshare -m true 2>/dev/null; then result full_disk "$(unshare -m bash full.sh "$quant" "$tiny" "$size" 2>&1 | tr '\n' ';')"
elif unshare -rm true 2>/dev/null; then result full_disk "$(unshare -rm bash full.sh "$quant" "$tiny" "$size" 2>&1 | tr '\n' ';')"
else echo "SKIP full_disk: needs unshare and mount"; fi

# Four writers and a reader.
why=''
for ((i = 0; i < 50; ++i)); do
    begin $((i % 2))
    pids=''
    for type in q8_0 q8_0 q4_0 q4_0; do
        "$quant" quantize --quiet --force "$tiny" out/x.gguf $type 1 &
        pids="$pids $!"
    done
    for _ in 1 2 3; do [ ! -e out/x.gguf ] || "$quant" inspect out/x.gguf >/dev/null 2>err || why="$why; round $i: $(cat err)"; done
    for pid in $pids; do wait "$pid" || why="$why; round $i: a writer failed"; done
    found=$(sha256sum <out/x.gguf)
    [ "$found" = "$new" ] || [ "$found" = "$old" ] || why="$why; round $i: another file"
    [ "$(temporaries)" -eq 0 ] || why="$why; round $i left a temporary"
done
result four_writers_at_once "$why"
