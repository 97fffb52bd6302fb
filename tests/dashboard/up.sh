#!/usr/bin/env bash
# Install Debian's Chromium for the tests of the page, unless a Chromium is there. Needs root and Debian packages.
# Exit status 77: it cannot be installed here; the message says why.
set -euo pipefail

cannot() {
    echo "no Chromium for the tests: $1" >&2
    exit 77
}

get_packages() { apt-get install -qq -y --no-install-recommends chromium >/dev/null; }

for program in chromium chromium-browser google-chrome; do
    command -v "$program" >/dev/null && exit 0
done
[ "$(id -u)" = 0 ] || cannot "it takes root"
command -v apt-get >/dev/null || cannot "it takes Debian packages"
export DEBIAN_FRONTEND=noninteractive
get_packages 2>/dev/null || { apt-get update -qq && get_packages; } || cannot "chromium could not be installed"
