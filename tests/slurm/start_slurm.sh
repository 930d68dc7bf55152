#!/usr/bin/env bash
# A one-node SLURM on loopback: LAB=/absolute/folder start_slurm.sh; then export PATH=$LAB/bin:$PATH
# No systemd, nothing written outside LAB, two pretended GPUs. Debian packages: slurm-wlm munge.
# Partitions: cpu and gpu, and high, which preempts the jobs of the others (they are requeued).
set -euo pipefail
: "${LAB:?absolute path whose parents only their owner may write to, or sticky}" "${CPUS:=16}" "${GPUS:=2}"
rm -rf "$LAB/state" "$LAB/spool"
mkdir -p "$LAB"/{etc,run,state,spool,log,munge,bin}
chmod 0755 "$LAB" "$LAB"/{etc,run,log}
chmod 0700 "$LAB/munge"
user=$(id -un)
memory=262144 # MB, pretended, so that the paper's requests are met
for ((i = 0; i < GPUS; i++)); do ln -sfn /dev/null "$LAB/etc/gpu$i"; done # each GPU needs a file of its own

cat >"$LAB/etc/slurm.conf" <<CONF
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=17817
SlurmdPort=17818
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$LAB/run/munge.sock,cred_expire=5
StateSaveLocation=$LAB/state
SlurmdSpoolDir=$LAB/spool
SlurmctldPidFile=$LAB/run/slurmctld.pid
SlurmdPidFile=$LAB/run/slurmd.pid
SlurmctldLogFile=$LAB/log/slurmctld.log
SlurmdLogFile=$LAB/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MinJobAge=3600
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=localhost NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$memory Gres=gpu:fake:$GPUS
PartitionName=cpu Nodes=localhost Default=YES PriorityTier=5 DefaultTime=10 MaxTime=1-0
PartitionName=gpu Nodes=localhost PriorityTier=5 DefaultTime=10 MaxTime=1-0
PartitionName=high Nodes=localhost PriorityTier=10 PreemptMode=OFF DefaultTime=10 MaxTime=1-0
CONF
echo "AutoDetect=off
NodeName=localhost Name=gpu Type=fake File=$LAB/etc/gpu[0-$((GPUS - 1))]" >"$LAB/etc/gres.conf"
echo 'CgroupAutomount=no' >"$LAB/etc/cgroup.conf"

# inside a job Snakemake drops every SLURM_* variable, SLURM_CONF too
for command in sbatch srun squeue scontrol sinfo scancel sacct sacctmgr sshare; do
    printf '#!/bin/sh\nSLURM_CONF=%s/etc/slurm.conf exec /usr/bin/%s "$@"\n' "$LAB" $command >"$LAB/bin/$command"
    chmod +x "$LAB/bin/$command"
done
export SLURM_CONF=$LAB/etc/slurm.conf PATH=$LAB/bin:$PATH:/usr/sbin

[ -s "$LAB/munge/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$LAB/munge/munge.key")
munged --key-file="$LAB/munge/munge.key" --socket="$LAB/run/munge.sock" --pid-file="$LAB/run/munged.pid" \
    --log-file="$LAB/log/munged.log" --seed-file="$LAB/munge/munge.seed"
slurmctld
slurmd -N localhost
for ((i = 0; i < 100; i++)); do
    [ "$(sinfo -h -p cpu -o %T 2>/dev/null)" = idle ] && exit 0
    sleep 0.1
done
sinfo -R >&2
tail -20 "$LAB/log/slurmd.log" >&2
exit 1
