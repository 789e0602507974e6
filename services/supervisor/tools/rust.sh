# The two things that a newcomer brings: Rust and a C compiler. Neither is installed here, both are named.

rust() {
    have cargo && have rustc || stop "Rust is missing; install it from https://rustup.rs and type the command again"
    at_least "$(rust_min)" "$(version_of rustc)" ||
        stop "this Rust is $(version_of rustc) and the project needs $(rust_min); type: rustup update stable"
    have cc && return
    case "$(uname -s)" in
        Darwin) stop "a C compiler is missing; type: xcode-select --install" ;;
        *) stop "a C compiler is missing; install gcc with your system's package manager (Debian: apt-get install gcc)" ;;
    esac
}

rust_min() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }
