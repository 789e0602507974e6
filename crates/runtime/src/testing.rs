//! A real nats-server for tests of one stage: a free port, its own folder, the real streams.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::settings::Settings;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::health::HealthHandle;
use crate::run::Context;

/// How long the server may take to be ready.
const READY_SECONDS_MAX: u64 = 20;
/// The password of every user of a test server.
const SECRET: &str = "for-tests-only";

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: String,
    /// The folder that is its state folder and that of the stages under test.
    pub state: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// Starts a server with the real streams. Every stage's name is a user that may do anything.
    ///
    /// # Panics
    /// When there is no `nats-server`, with the line that installs it, or it does not start.
    pub async fn start() -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let users = [
            "admin",
            "operator",
            "market-data",
            "signal",
            "execution",
            "persistence",
            "bridge",
        ];
        let users: Vec<_> = users
            .map(|user| format!("{{user: \"{user}\", password: \"{SECRET}\"}}"))
            .into_iter()
            .collect();
        let config = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: {ports:?}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
             authorization {{ users: [{users}] }}\n",
            ports = state.path(),
            store = state.path().join("nats"),
            users = users.join(", "),
        );
        let file = state.path().join("nats.conf");
        std::fs::write(&file, config).expect("the configuration is written");
        let child = Command::new(find_server())
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        let address = wait_for_address(state.path(), child.id()).await;
        let server = Self {
            address,
            state,
            child,
        };
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        while let Err(error) = crate::setup::streams(&server.address, SECRET).await {
            assert!(Instant::now() < deadline, "the streams can't be made: {error:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// A connection as the stage `name`.
    ///
    /// # Panics
    /// When the server is gone.
    pub async fn bus(&self, name: &'static str) -> Bus {
        Bus::connect(name, &self.address, SECRET)
            .await
            .expect("the test server answers")
    }

    /// What the stage `name` is given at its start.
    ///
    /// # Panics
    /// When the server is gone.
    pub async fn context(&self, name: &'static str, settings: Settings) -> Context {
        let bus = self.bus(name).await;
        let stop = CancellationToken::new();
        let health = HealthHandle::start(name, "test", bus.clone(), stop.clone());
        Context {
            name,
            instance: "test".to_owned(),
            settings,
            state: self.state.path().to_owned(),
            bus,
            health,
            stop,
        }
    }

    /// The process of the server, for tests that kill or stop it.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `nats-server` of the project's own tools, or on the PATH.
fn find_server() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    if own.exists() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.exists());
    found.expect("no nats-server found: `./just test` installs it into .tools/bin")
}

/// The server chose its port itself and writes it into a file named after its process.
async fn wait_for_address(folder: &Path, process: u32) -> String {
    let file = folder.join(format!("nats-server_{process}.ports"));
    let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    loop {
        if let Some(address) = read_address(&file) {
            return address;
        }
        assert!(
            Instant::now() < deadline,
            "nats-server did not write {}",
            file.display()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn read_address(file: &Path) -> Option<String> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(
        ports["nats"][0]
            .as_str()?
            .trim_start_matches("nats://")
            .to_owned(),
    )
}
