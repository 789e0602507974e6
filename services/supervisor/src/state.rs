//! The state folder of one market and account: its lock, its secrets, and the files that tell a person how
//! to look.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};
use runtime::{Exit, code};

use crate::record::Record;

/// Every user of the bus, as in `nats.conf`.
pub const USERS: [&str; 7] = [
    "market-data",
    "signal",
    "execution",
    "persistence",
    "bridge",
    "operator",
    "admin",
];

/// Letters and digits of a generated secret.
const SECRET_CHARS: usize = 32;

/// Letters and digits by which the names of paper gateways differ.
const GATEWAY_NAME_CHARS: usize = 8;

/// A state folder that this process holds. Dropping it lets others take it.
#[derive(Debug)]
pub struct Held {
    /// The folder.
    pub folder: PathBuf,
    _lock: Flock<File>,
}

/// Takes a state folder, which is made if it is not there.
///
/// # Errors
/// [`code::AGAIN`] when another run-all holds it, with a sentence that says where its dashboard is.
pub fn hold(folder: &Path) -> anyhow::Result<Held> {
    private_folder(folder)?;
    let file = folder.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&file);
    let lock = lock.with_context(|| format!("open {}", file.display()))?;
    match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Held {
            folder: folder.to_owned(),
            _lock: lock,
        }),
        Err(_) => Err(Exit::error(code::AGAIN, running_already(folder))),
    }
}

/// True while a run-all, or another command that must not be disturbed, holds the folder.
#[must_use]
pub fn is_held(folder: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(folder.join("lock")) else {
        return false;
    };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

/// Which state folder is meant: the one that is named, else the only one below `var/` that runs, else the
/// demo's.
///
/// # Errors
/// [`code::SETTING`] when several run and none is named.
pub fn choose(root: &Path, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        return Ok(std::path::absolute(folder)?);
    }
    let entries = std::fs::read_dir(root.join("var"))
        .into_iter()
        .flatten()
        .flatten();
    let mut running: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|folder| Record::read(folder).is_some())
        .collect();
    running.sort();
    match running.as_slice() {
        [] => Ok(root.join("var").join(crate::plan::DEMO)),
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|folder| folder.display().to_string())
                .collect();
            let text = format!(
                "several pipelines run: name one of {} with --state",
                names.join(", ")
            );
            Err(Exit::error(code::SETTING, text))
        }
    }
}

fn running_already(folder: &Path) -> String {
    let Some(record) = Record::read(folder) else {
        return format!(
            "the state folder {} is being used by another command: wait for it, or name another with --state",
            folder.display()
        );
    };
    let (pid, dashboard) = (
        record.supervisor.pid,
        dashboard_address(folder, &record.dashboard),
    );
    format!("a pipeline runs here already (pid {pid}, dashboard {dashboard}): `./just stop` ends it")
}

/// The address to type into a browser. The token is in the fragment, which a browser sends nowhere.
#[must_use]
pub fn dashboard_address(folder: &Path, listen: &str) -> String {
    let token = std::fs::read_to_string(folder.join("token")).unwrap_or_default();
    format!("http://{listen}/#token={}", token.trim())
}

/// Makes a folder, and those above it, that only the owner can enter.
///
/// # Errors
/// When a folder above can't be written.
pub fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.with_context(|| format!("make the folder {}", folder.display()))
}

/// Makes the secrets that are missing: a password for every user of the bus, and the dashboard's token.
///
/// # Errors
/// When the folder can't be written.
pub fn make_secrets(folder: &Path) -> anyhow::Result<()> {
    private_folder(&folder.join("secrets"))?;
    let files = USERS
        .map(|user| folder.join("secrets").join(user))
        .into_iter()
        .chain([folder.join("token")]);
    for file in files {
        let there = std::fs::read_to_string(&file).is_ok_and(|text| text.trim().len() >= SECRET_CHARS);
        if !there {
            write_private(&file, &secret()?)?;
        }
    }
    Ok(())
}

/// The password of a user of the bus.
///
/// # Errors
/// [`code::MISSING`] when no run-all was ever started here.
pub fn secret_of(folder: &Path, user: &str) -> anyhow::Result<String> {
    let file = folder.join("secrets").join(user);
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Exit::error(
            code::MISSING,
            format!(
                "{} can't be read ({error}): `./just run-all` makes it",
                file.display()
            ),
        )
    })?;
    Ok(text.trim().to_owned())
}

/// The name under which LEDGER knows the paper gateway of a state folder, wherever it listens. It lies beside the account
/// and is made with it, so that an account that began anew is another gateway.
///
/// # Errors
/// When the folder can't be read or written.
pub fn gateway_name(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.join("gateway");
    private_folder(&folder)?;
    let file = folder.join("known-as");
    if file.exists() {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if !text.trim().is_empty() {
            return Ok(text.trim().to_owned());
        }
    }
    let name = format!("paper-gateway-{}", &secret()?[..GATEWAY_NAME_CHARS]);
    write_private(&file, &name)?;
    Ok(name)
}

/// Writes the variables with which the stock `nats` CLI works as typed, after `. STATE/operator.env`.
///
/// # Errors
/// When the folder can't be written.
pub fn write_operator_env(folder: &Path, nats: &str) -> anyhow::Result<()> {
    let password = secret_of(folder, "operator")?;
    let text = format!(
        "export NATS_URL='nats://{nats}'\nexport NATS_USER='operator'\nexport NATS_PASSWORD='{password}'\n"
    );
    write_private(&folder.join("operator.env"), &text)
}

/// Writes a file that only the owner can read, whole or not at all.
///
/// # Errors
/// When the folder can't be written.
pub fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    let write = || {
        let mut out = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&next)?;
        out.write_all(text.as_bytes())?;
        std::fs::rename(&next, file)
    };
    write().with_context(|| format!("write {}", file.display()))
}

/// Random letters and digits. Begins with a letter, because nats-server reads a value that begins with a
/// digit as a number.
fn secret() -> anyhow::Result<String> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const ALL: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = File::open("/dev/urandom").context("the system's source of randomness, /dev/urandom")?;
    let mut text = String::with_capacity(SECRET_CHARS);
    while text.len() < SECRET_CHARS {
        let from = if text.is_empty() { LETTERS } else { ALL };
        let mut byte = [0];
        random.read_exact(&mut byte).context("read /dev/urandom")?;
        // Bytes past the last whole multiple would make some letters likelier.
        let whole = 256 / from.len() * from.len();
        if usize::from(byte[0]) < whole {
            text.push(char::from(from[usize::from(byte[0]) % from.len()]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = hold(folder.path()).unwrap();
        assert!(is_held(folder.path()));
        assert!(hold(folder.path()).is_err());
        drop(held);
        assert!(!is_held(folder.path()));
        hold(folder.path()).unwrap();
    }

    #[test]
    fn a_paper_gateway_keeps_its_name_and_its_account_anew_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let first = gateway_name(folder.path()).unwrap();
        assert_eq!(gateway_name(folder.path()).unwrap(), first);
        std::fs::remove_dir_all(folder.path().join("gateway")).unwrap();
        assert_ne!(gateway_name(folder.path()).unwrap(), first);
    }

    #[test]
    fn secrets_are_private_kept_and_legal_in_the_servers_file() {
        let folder = tempfile::tempdir().unwrap();
        make_secrets(folder.path()).unwrap();
        let first = secret_of(folder.path(), "execution").unwrap();
        make_secrets(folder.path()).unwrap();
        assert_eq!(first, secret_of(folder.path(), "execution").unwrap());
        assert_ne!(first, secret_of(folder.path(), "admin").unwrap());
        assert!(
            first.len() == 32 && first.as_bytes()[0].is_ascii_alphabetic(),
            "{first}"
        );
        let mode = |file: &str| {
            std::fs::metadata(folder.path().join(file))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("secrets"), mode("secrets/admin"), mode("token")),
            (0o700, 0o600, 0o600)
        );
    }
}
