#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, for tests: controller and node daemon on the loopback, no accounting.
# Needs root and Debian packages, which it installs; status 77 where they are not to be had. Does nothing if a controller
# answers already.
set -euo pipefail
cd "$(dirname "$0")"

packages="slurmctld slurmd slurm-client munge"
install() { apt-get install -qq -y --no-install-recommends $packages >/dev/null; }

if ! command -v slurmctld slurmd munged >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "no SLURM could be set up: it takes root and Debian packages" >&2
        exit 77
    fi
    export DEBIAN_FRONTEND=noninteractive
    install 2>/dev/null || { apt-get update -qq && install; } || {
        echo "no SLURM could be set up: $packages could not be installed" >&2
        exit 77
    }
fi
if scontrol ping 2>/dev/null | grep -q 'is UP'; then
    exit 0
fi
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p /etc/slurm /var/lib/slurm-memlab/controller /var/lib/slurm-memlab/node
sed "s/@HOST@/$host/g; s/@CPUS@/$(nproc)/g; s/@MEMORY@/$memory/g" slurm.conf.in >/etc/slurm/slurm.conf
printf 'CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\n' >/etc/slurm/cgroup.conf  # there may be no cgroups

install -d -o munge -g munge -m 755 /run/munge
munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
until munge -n >/dev/null 2>&1; do sleep 0.1; done
slurmctld
slurmd
for _ in $(seq 100); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && exit 0
    sleep 0.2
done
echo "SLURM did not come up: see /var/log/slurmctld.log and /var/log/slurmd.log" >&2
exit 1
