//! The stage that orders.

fn main() -> std::process::ExitCode {
    runtime::run("execution", execution::serve)
}
