# A compiler for the browser: rustup's wasm32 target, or where rustup can fetch nothing, Debian's own rustc,
# which builds the standard library for wasm32 from source.

WASM_TARGET=wasm32-unknown-unknown
WASM_WHY="the page needs a compiler for $WASM_TARGET"
# Both compilers work here and neither in the services' folder, so that their artifacts never mix there.
WASM_DIR="${CARGO_TARGET_DIR:-$ROOT/target}/wasm"

# wasm_cargo VERB [FLAG...]: cargo for the browser, with whichever compiler is there.
wasm_cargo() {
    verb=$1
    shift
    if wasm_std_ready; then
        cargo "$verb" --target "$WASM_TARGET" --target-dir "$WASM_DIR" "$@"
        return
    fi
    # Debian's rustc is a stable release: it takes -Z flags only when told to. Its own linker package is not
    # needed, because rustup's toolchain ships one.
    linker=$(rust_lld)
    PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker" \
        /usr/bin/cargo "$verb" -Zbuild-std=std,panic_abort \
        --target "$WASM_TARGET" --target-dir "$WASM_DIR" "$@"
}

# wasm_compiler: finds or installs one of the two.
wasm_compiler() {
    rust
    wasm_std_ready && return
    debian_rust_ready && return
    if have rustup; then
        say "adding rustup's target $WASM_TARGET"
        mkdir -p "$TOOLS"
        limit 300 rustup target add "$WASM_TARGET" >"$TOOLS/rustup.log" 2>&1 && wasm_std_ready && return
        say "rustup could not fetch it; falling back on Debian's rustc, which builds it from source"
    fi
    debian_install "$WASM_WHY" rustc-web cargo-web rust-web-src ||
        stop "$WASM_WHY; type: rustup target add $WASM_TARGET"
    debian_rust_ready || stop "$WASM_WHY and this Debian's is too old or has no rust-lld beside it; type:" \
        "rustup target add $WASM_TARGET"
}

wasm_std_ready() { [ -d "$(rustc --print sysroot)/lib/rustlib/$WASM_TARGET/lib" ]; }

debian_rust_ready() {
    [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library/std ] && [ -x "$(rust_lld)" ] &&
        at_least "$(rust_min)" "$(version_of /usr/bin/rustc)"
}

rust_lld() {
    host=$(rustc -vV | sed -n 's/^host: //p')
    printf '%s/lib/rustlib/%s/bin/rust-lld' "$(rustc --print sysroot)" "$host"
}

# wasm_bindgen: the CLI and the crate must be of one version, and Cargo.lock says which.
wasm_bindgen() {
    wanted=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/[^0-9.]/, ""); print }' "$ROOT/Cargo.lock")
    [ "$(version_of wasm-bindgen)" = "$wanted" ] && return
    say "building wasm-bindgen $wanted into .tools/bin (two minutes, once)"
    # Without --locked: the lock file in this crate's package can name versions that were taken back since.
    cargo_install wasm-bindgen wasm-bindgen-cli "$wanted"
}
