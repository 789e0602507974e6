//! A paper gateway of a test's own, beside the stack, so that faults can be ordered at its control port.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{PATIENCE, programs, until};

/// How long an answer of the control port may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A running gateway. A drop ends it.
pub struct Gateway {
    child: Child,
    folder: PathBuf,
    /// Where its clients connect.
    pub address: String,
    control: String,
}

impl Gateway {
    /// Starts one that keeps its account below `folder`.
    pub async fn start(folder: &Path, options: &[&str]) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        let (address, control) = (folder.join("address"), folder.join("control"));
        for sign in [&address, &control] {
            // One that ran here before left where it listened.
            let _ = std::fs::remove_file(sign);
        }
        let child = Command::new(programs().join("tradewind-paper-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--control",
                "127.0.0.1:0",
                "--address-file",
            ])
            .arg(&address)
            .arg("--control-file")
            .arg(&control)
            .arg("--state")
            .arg(&folder)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the paper gateway starts");
        let written = |file: PathBuf| async move {
            let text = std::fs::read_to_string(file).ok()?;
            Some(text.strip_suffix('\n')?.to_owned())
        };
        let address = until("the gateway listens", PATIENCE, || written(address.clone())).await;
        let control = until("the gateway takes faults", PATIENCE, || written(control.clone())).await;
        Self {
            child,
            folder,
            address,
            control,
        }
    }

    /// Orders a fault; panics when the gateway refuses it.
    pub fn order(&self, fault: &Value) {
        let mut socket = TcpStream::connect(&self.control).expect("the control port");
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        writeln!(socket, "{fault}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        assert!(answer.contains("\"ok\":true"), "{fault}: {answer}");
    }

    /// Every fact about the account that is on the disk.
    pub fn facts(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join("account.log")).expect("the account's records");
        // A last line without an end is being written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("a record of the gateway"))
            .collect()
    }

    /// Every order that was ever taken: client, symbol, and the owner's tag.
    pub fn orders(&self) -> Vec<(i64, String, String)> {
        let facts = self.facts();
        let taken = facts.iter().filter(|fact| fact["record"] == "accepted");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        taken
            .map(|fact| {
                let (order, ticket) = (&fact["order"], &fact["order"]["ticket"]);
                let client = order["client"].as_i64().expect("a client");
                (client, text(&ticket["symbol"]), text(&ticket["reference"]))
            })
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
