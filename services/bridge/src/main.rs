//! The stage that browsers talk to: the page, its live feed, commands, health and metrics.

fn main() -> std::process::ExitCode {
    runtime::run("bridge", bridge::serve)
}
