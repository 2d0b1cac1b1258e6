#!/usr/bin/env bash
# The bundled model in every type of the peers' table: mean KL divergence at most 1.02 times the peer's, file no larger.
set -u
cd "$(dirname "$0")/../.."
shared=${QUANT_SHARED:-../shared}
if [ ! -f "$shared/reference/peers.md" ]; then
    echo "SKIP fidelity: needs the reference data folder (QUANT_SHARED)"
    exit 0
fi
scripts/compare-kl.sh 2>&1 | tee /dev/stderr | awk '
    NR == 1 { next }
    /TOO HIGH|TOO LARGE/ || NF < 11 { print "FAIL fidelity_" $1 ": " $0; next }
    { print "ok fidelity_" $1 }'
