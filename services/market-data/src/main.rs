//! The process `market-data`: see the library.

fn main() -> std::process::ExitCode {
    runtime::run("market-data", market_data::serve)
}
