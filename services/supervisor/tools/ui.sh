# The dashboard: web-ui compiled for the browser into web-ui/dist. There is this one way to build it.

UI="$ROOT/web-ui"
UI_DIST="$UI/dist"

ui() {
    stamp=$(ui_stamp)
    [ "$(cat "$UI_DIST/.stamp" 2>/dev/null)" = "$stamp" ] && return
    wasm_compiler
    wasm_bindgen
    say "building the dashboard into web-ui/dist"
    (cd "$ROOT" && wasm_cargo build --package web-ui --profile wasm) || {
        say "the dashboard does not compile; cargo's message is above"
        exit 1
    }
    next="$UI/dist.next"
    rm -rf "$next"
    mkdir -p "$next"
    # Without wasm-opt on purpose: old versions of it break the page in silence, and the gain is a tenth.
    wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section \
        --out-dir "$next" "$WASM_DIR/$WASM_TARGET/wasm/web-ui.wasm"
    cp "$UI/index.html" "$UI/style.css" "$next/"
    [ ! -d "$UI/static" ] || cp -R "$UI/static/." "$next/"
    printf '%s\n' "$stamp" >"$next/.stamp"
    # Swapped at the end: a bridge that serves the folder meanwhile never sends half a page.
    rm -rf "$UI_DIST"
    mv "$next" "$UI_DIST"
}

# One number over everything the page is made of: an unchanged tree is not built again.
ui_stamp() {
    cd "$ROOT" || exit 1
    find web-ui crates/protocol crates/engine Cargo.toml Cargo.lock "$HERE/ui.sh" "$HERE/wasm.sh" \
        -path web-ui/dist -prune -o -path web-ui/dist.next -prune -o -path '*/tests' -prune -o \
        -type f -exec cksum {} + | LC_ALL=C sort | cksum
}

# The crates that the browser shares with the services, and the page itself, must compile for it.
wasm_check() {
    wasm_compiler
    # In the profile of the real build, so that both share what runs while compiling.
    (cd "$ROOT" && wasm_cargo check --profile wasm --package protocol --package engine --package web-ui) || exit 1
}
