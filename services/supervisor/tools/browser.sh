# A real Chromium and its driver: the browser test types and looks as a person does.

browser() {
    have chromium && have chromedriver && return
    browser_alias chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
        "/Applications/Chromium.app/Contents/MacOS/Chromium"
    browser_alias chromedriver chromium.chromedriver /usr/lib/chromium-browser/chromedriver
    have chromium && have chromedriver && return
    case "$(uname -s)" in
        Darwin) stop "the browser test needs a Chromium and its driver; type:" \
            "brew install --cask google-chrome chromedriver" ;;
    esac
    debian_install "the browser test needs a Chromium and its driver" chromium chromium-driver ||
        stop "the browser test needs a Chromium and its driver; install both with your system's package manager"
    have chromium && have chromedriver ||
        stop "chromium and chromedriver are not on PATH after their installation; put them there and try again"
}

# browser_alias NAME CANDIDATE...: other systems have other names; tests know one. A script and not a link,
# because some of these programs look at the name they are called by.
browser_alias() {
    name=$1
    shift
    have "$name" && return
    for candidate in "$@"; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        mkdir -p "$BIN"
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$path" >"$BIN/$name"
        chmod 755 "$BIN/$name"
        return
    done
}
