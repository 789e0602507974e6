//! The NATS server: where it is, how it is started with the project's `nats.conf`, and when it is ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::{Exit, code};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::member::Recipe;
use crate::state::{USERS, secret_of};

/// How long one look at the monitor may take.
const LOOK_MS_MAX: u64 = 500;
/// Bytes of the monitor's answer that are read.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// Finds a program in the project's own tools, else on the PATH.
#[must_use]
pub fn find(root: &Path, program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [root.join(".tools/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// How to start the server.
///
/// # Errors
/// [`code::UNAVAILABLE`] when there is no `nats-server`; [`code::MISSING`] when a secret is missing.
pub fn recipe(root: &Path, state: &Path, port: u16, monitor: &str) -> anyhow::Result<Recipe> {
    let Some(program) = find(root, "nats-server") else {
        let text = "nats-server is neither in .tools/bin nor on the PATH: `./just run-all` installs it";
        return Err(Exit::error(code::UNAVAILABLE, text));
    };
    // The server reads a value of the environment as it reads its file: quoted, it is text whatever is in it.
    let quoted =
        |text: &str| OsString::from(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
    let mut environment = vec![
        ("TW_NATS_PORT".to_owned(), OsString::from(port.to_string())),
        ("TW_NATS_MONITOR".to_owned(), quoted(monitor)),
        (
            "TW_NATS_STORE".to_owned(),
            quoted(&state.join("nats").display().to_string()),
        ),
    ];
    for user in USERS {
        let variable = format!("TW_PASSWORD_{}", user.to_uppercase().replace('-', "_"));
        environment.push((variable, OsString::from(secret_of(state, user)?)));
    }
    Ok(Recipe {
        name: "nats-server",
        program,
        arguments: vec!["--config".into(), root.join("nats.conf").into()],
        environment,
        log: state.join("logs/nats-server.log"),
    })
}

/// True when the server says through its monitor that it and its streams are up.
pub async fn is_ready(monitor: &str) -> bool {
    tokio::time::timeout(Duration::from_millis(LOOK_MS_MAX), healthy(monitor))
        .await
        .is_ok_and(|answer| answer.unwrap_or(false))
}

async fn healthy(monitor: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(monitor).await?;
    let question = format!("GET /healthz HTTP/1.1\r\nHost: {monitor}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
