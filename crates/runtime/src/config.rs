//! Reads and checks `services/config.toml`: the whole file, before any port opens.

use std::path::Path;

use protocol::settings::Settings;

use crate::run::{Exit, code};

/// Largest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Reads the settings.
///
/// # Errors
/// [`code::MISSING`] when there is no such file, [`code::SETTING`] with one sentence when it is not TOML, has an
/// unknown or missing key, or a value outside its range.
pub fn read(file: &Path) -> anyhow::Result<Settings> {
    let name = file.display();
    let length = std::fs::metadata(file).map_err(|error| {
        Exit::error(
            code::MISSING,
            format!("the settings {name} can't be read ({error}): name them with --config"),
        )
    })?;
    if length.len() > FILE_BYTES_MAX {
        return Err(Exit::error(
            code::SETTING,
            format!("{name} is larger than {FILE_BYTES_MAX} bytes: it holds settings only"),
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| {
        Exit::error(
            code::SETTING,
            format!("{name} is not text ({error}): write it anew"),
        )
    })?;
    parse(&text).map_err(|reason| Exit::error(code::SETTING, format!("{name}: {reason}")))
}

/// Reads settings from text; the error is one sentence that names the key and what to do.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(text: &str) -> Result<Settings, String> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let line = text[..span.start.min(text.len())].lines().count().max(1);
            format!("line {line}: ")
        });
        format!(
            "{place}{}; correct or remove it",
            error.message().trim().replace('\n', " ")
        )
    })?;
    settings.check()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = parse("[nats]\naddress = \"127.0.0.1:1\"\nmonitor = \"127.0.0.1:2\"\nadress = \"x\"\n")
            .unwrap_err();
        assert!(error.contains("adress") && error.contains("line"), "{error}");
    }
}
