//! The kill switch of this machine works when nothing else does: here there is no NATS server.

// A test that finds nothing where something must be should panic there and then.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The server's address in the settings of the project.
const SERVER: &str = "127.0.0.1:4222";

/// A running execution; it ends when this is dropped.
struct Execution(Child);

impl Execution {
    /// Starts it on `state`, with the project's settings but for the server's address.
    fn start(state: &Path, server: &str) -> Self {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../config.toml")).unwrap();
        assert!(text.contains(SERVER), "the settings name the server {SERVER}");
        let settings = state.join("config.toml");
        std::fs::write(&settings, text.replace(SERVER, server)).unwrap();
        std::fs::create_dir(state.join("secrets")).unwrap();
        std::fs::write(state.join("secrets/execution"), "a secret").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_execution"));
        command.arg("--config").arg(settings).arg("--state").arg(state);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success(), "{name} can be sent");
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_signal_makes_the_file_while_there_is_no_server() {
    let state = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut execution = Execution::start(state.path(), &address);
    // It knocks once, so it is looking for the server; from now on there is none.
    server.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server.accept().is_err() {
        assert!(
            Instant::now() < deadline,
            "execution does not look for the server"
        );
        std::thread::sleep(LOOK);
    }
    drop(server);

    execution.signal("-USR1");
    let deadline = Instant::now() + PATIENCE;
    while !state.path().join("KILL").exists() {
        assert_eq!(execution.0.try_wait().unwrap(), None, "the signal ended it");
        assert!(Instant::now() < deadline, "the signal made no file");
        std::thread::sleep(LOOK);
    }
    assert_eq!(execution.0.try_wait().unwrap(), None, "it lives on");
}
