//! The stage that remembers: LEDGER and bars into redb, and answers about both.

fn main() -> std::process::ExitCode {
    runtime::run("persistence", persistence::serve)
}
