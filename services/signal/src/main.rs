//! The process `signal`: see the library.

fn main() -> std::process::ExitCode {
    runtime::run("signal", signal::serve)
}
