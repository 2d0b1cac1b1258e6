#!/usr/bin/env bash
# Our speed beside that of llama.cpp and its relatives, measured in one run, each round one measurement of everybody in turn.
# usage: scripts/bench-peers.sh PEERDIR... [options]   (bench-peers.py --help lists them)
# Needs python3 with numpy; a build of quant ($QUANT_BUILD, default build); $QUANT_SHARED (default ../shared) for synthetic models.
cd "$(dirname "$0")/.." && exec python3 scripts/bench-peers.py "$@"
