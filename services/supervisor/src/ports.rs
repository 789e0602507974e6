//! Ports: which are free, and who holds one that is not.

use std::net::{SocketAddr, TcpListener};

use runtime::{Exit, code};

/// An address that a part of the stack will listen on.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For what, in the words of a person: `NATS`.
    pub purpose: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// The option that chooses another.
    pub option: &'static str,
}

/// Refuses to start when one of the addresses is taken.
///
/// # Errors
/// [`code::UNAVAILABLE`] with a sentence that names the port, who holds it, and the option for another.
pub fn check(wanted: &[Wanted]) -> anyhow::Result<()> {
    for want in wanted {
        if let Err(error) = TcpListener::bind(want.address) {
            let Wanted {
                purpose,
                address,
                option,
            } = want;
            let holder = holder(address.port())
                .unwrap_or_else(|| "another program, perhaps another run-all".to_owned());
            let text = if error.kind() == std::io::ErrorKind::AddrInUse {
                format!(
                    "port {} for {purpose} is held by {holder}: stop that, or choose another with {option}",
                    address.port()
                )
            } else {
                format!("{purpose} can't listen on {address} ({error}): choose another with {option}")
            };
            return Err(Exit::error(code::UNAVAILABLE, text));
        }
    }
    Ok(())
}

/// A port that nobody holds at this moment.
///
/// # Errors
/// When the machine has none left.
pub fn free() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The process that listens on a port, where the system lets us see it (Linux, own processes).
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_inode(table, port))?;
    let socket = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str())
        };
        if files.flatten().any(holds) {
            let program = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", program.trim()));
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let text = std::fs::read_to_string(table).ok()?;
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let matches = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_holder_and_the_way_out() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = check(&[Wanted {
            purpose: "NATS",
            address,
            option: "--nats-port",
        }])
        .unwrap_err()
        .to_string();
        assert!(
            error.contains(&address.port().to_string()) && error.contains("--nats-port"),
            "{error}"
        );
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        }
        drop(held);
        assert!(
            check(&[Wanted {
                purpose: "NATS",
                address,
                option: "--nats-port"
            }])
            .is_ok()
        );
    }
}
