//! The stage that orders.

fn main() -> std::process::ExitCode {
    runtime::run_watching("execution", execution::watch, execution::serve)
}
