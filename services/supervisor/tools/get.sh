#!/bin/sh
# get.sh PART...: finds or installs each part. The Justfile calls it; a part that is there costs milliseconds.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd -P)
. "$ROOT/services/supervisor/tools/common.sh"
. "$HERE/rust.sh"
. "$HERE/nats.sh"
. "$HERE/browser.sh"
. "$HERE/python.sh"
. "$HERE/lints.sh"
. "$HERE/wasm.sh"
. "$HERE/ui.sh"

for part in "$@"; do
    case "$part" in
        rust) rust ;;
        nats-server) nats_server ;;
        nats-cli) nats_cli ;;
        browser) browser ;;
        ib-client) ib_client ;;
        lints) lints ;;
        cargo-deny) cargo_deny ;;
        wasm-check) wasm_check ;;
        ui) ui ;;
        *) stop "there is no part named $part; look into services/supervisor/tools/get.sh" ;;
    esac
done
