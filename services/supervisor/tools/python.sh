# IB's own Python client, which a contract test lets trade on the paper gateway. Only tests need it.

# Kept apart from the system's packages: a program sees it only if PYTHONPATH names .tools/python.
ib_client() {
    pinned=$(sed -n 's/^\([a-z-]*\)==\([0-9.]*\).*/\1-\2/p' "$HERE/wheels/ib-client.txt" | tr '\n' ' ')
    [ "$(cat "$TOOLS/python/pinned" 2>/dev/null)" = "$pinned" ] && return
    have python3 && python3 -m pip --version >/dev/null 2>&1 ||
        stop "the test with IB's own client needs python3 with pip; install both with your system's package manager"
    say "installing IB's Python client into .tools/python"
    scratch="$TOOLS/python.$$"
    mkdir -p "$TOOLS"
    pip_install "$scratch" ib-client || {
        rm -rf "$scratch"
        stop "IB's Python client could not be installed; read .tools/pip.log and type the command again"
    }
    printf '%s' "$pinned" >"$scratch/pinned"
    rm -rf "$TOOLS/python"
    mv "$scratch" "$TOOLS/python"
}
