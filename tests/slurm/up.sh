#!/usr/bin/env bash
# Start a SLURM cluster of one node on this machine, for tests: controller and node daemon on the loopback interface, no
# accounting. Needs root and Debian packages, which it installs. Does nothing if the cluster is already up.
# Exit status 77: it cannot be set up here; the message says why.
set -euo pipefail
cd "$(dirname "$0")"

packages="slurmctld slurmd slurm-client munge"
config=/etc/slurm/slurm.conf

cannot() {
    echo "no SLURM for the tests: $1" >&2
    exit 77
}

have_programs() {
    local program
    for program in slurmctld slurmd scontrol munged; do
        command -v "$program" >/dev/null || return 1
    done
}

get_packages() { apt-get install -qq -y --no-install-recommends $packages >/dev/null; }

# attempt COUNT COMMAND...: repeat a command every 0.2 seconds until it succeeds.
attempt() {
    local count=$1
    shift
    for _ in $(seq "$count"); do
        "$@" && return 0
        sleep 0.2
    done
    return 1
}

munge_answers() { munge -n >/dev/null 2>&1; }
controller_answers() { scontrol ping 2>/dev/null | grep -q 'is UP'; }
node_daemon_lives() { kill -0 "$(cat /run/slurmd.pid 2>/dev/null)" 2>/dev/null; }
node_is_ready() { sinfo --noheader --format=%T 2>/dev/null | grep -qE 'idle|mixed|allocated'; }

# A cluster that somebody else set up is never touched: its jobs and its configuration are not ours.
if [ -e "$config" ] && ! grep -q '^ClusterName=memlab$' "$config"; then
    cannot "this machine belongs to another cluster ($config)"
fi
[ "$(id -u)" = 0 ] || cannot "it takes root"
if ! have_programs; then
    command -v apt-get >/dev/null || cannot "it takes Debian packages"
    export DEBIAN_FRONTEND=noninteractive
    get_packages 2>/dev/null || { apt-get update -qq && get_packages; } || cannot "$packages could not be installed"
fi
if controller_answers && node_is_ready; then
    exit 0
fi

host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p /etc/slurm /var/lib/slurm-memlab/controller /var/lib/slurm-memlab/node
sed "s/@HOST@/$host/g; s/@CPUS@/$(nproc)/g; s/@MEMORY@/$memory/g" slurm.conf.in >"$config"
# The machine may have no cgroups.
printf 'CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\n' >/etc/slurm/cgroup.conf

# systemd makes this folder where it runs; containers have no systemd.
install -d -o munge -g munge -m 755 /run/munge
munge_answers || runuser -u munge -- /usr/sbin/munged
attempt 50 munge_answers || {
    echo "munge did not start: see /var/log/munge/munged.log" >&2
    exit 1
}
controller_answers || slurmctld
node_daemon_lives || slurmd
attempt 100 node_is_ready || {
    echo "SLURM did not start: see /var/log/slurmctld.log and /var/log/slurmd.log" >&2
    exit 1
}
