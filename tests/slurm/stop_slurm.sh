#!/usr/bin/env bash
# Ends the SLURM that start_slurm.sh started in LAB, its jobs first.
: "${LAB:?}"
export SLURM_CONF=$LAB/etc/slurm.conf
/usr/bin/scancel --full --user="$(id -un)" 2>/dev/null
for ((i = 0; i < 50; i++)); do
    [ -z "$(/usr/bin/squeue -h 2>/dev/null)" ] && break
    sleep 0.1
done
for daemon in slurmd slurmctld munged; do
    pid=$(cat "$LAB/run/$daemon.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = $daemon ] || continue
    kill "$pid"
    for ((i = 0; i < 150; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
done
