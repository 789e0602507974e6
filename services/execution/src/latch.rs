//! The kill switch of this machine: a file, or a signal that makes it. It needs nothing else to work, so it is looked at
//! right before an order is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Name of the file in the state folder.
const FILE: &str = "KILL";

/// Latched while the file is there. SIGUSR1 makes the file; where that fails, the signal latches until the process ends.
/// The execution that leads records it, and the ledger stays latched until an operator releases it.
#[derive(Debug, Clone)]
pub struct Latch {
    file: PathBuf,
    told: Arc<AtomicBool>,
}

impl Latch {
    /// The latch of a state folder, by its file alone.
    pub fn of(state: &Path) -> Self {
        Self {
            file: state.join(FILE),
            told: Arc::default(),
        }
    }

    /// The latch of a state folder, by file and signal, as long as this process lives.
    ///
    /// # Errors
    /// When the signal can't be watched.
    pub fn watch(state: &Path) -> anyhow::Result<Self> {
        let latch = Self::of(state);
        let mut signals = signal(SignalKind::user_defined1()).context("SIGUSR1 can't be watched")?;
        let told = latch.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                told.set("SIGUSR1");
            }
        });
        Ok(latch)
    }

    /// True while nothing may go out. A file that can't be looked for counts as one that is there.
    pub fn is_set(&self) -> bool {
        self.told.load(Ordering::SeqCst) || self.file.try_exists().unwrap_or(true)
    }

    /// Latches, and tells whether the file is there that outlives this process.
    pub fn set(&self, by: &str) -> bool {
        // The file outlives the process; memory is the second best until the ledger has it.
        self.told.store(true, Ordering::SeqCst);
        let written = std::fs::write(&self.file, format!("latched by {by}\n"));
        match &written {
            Ok(()) => self.told.store(false, Ordering::SeqCst),
            Err(error) => tracing::error!(
                error = error.to_string(),
                "the file KILL can't be written: latched until this process ends"
            ),
        }
        written.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_file_latches_and_its_removal_releases() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::of(folder.path());
        assert!(!latch.is_set());
        std::fs::write(folder.path().join(FILE), "").unwrap();
        assert!(latch.is_set());
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(!latch.is_set());
    }

    #[test]
    fn a_file_that_cannot_be_looked_for_latches() {
        let folder = tempfile::tempdir().unwrap();
        let no_folder = folder.path().join("a-file");
        std::fs::write(&no_folder, "").unwrap();
        assert!(Latch::of(&no_folder).is_set());
    }

    #[tokio::test]
    async fn a_signal_latches_also_when_no_file_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::watch(folder.path()).unwrap();
        let homeless = Latch::watch(&folder.path().join("gone")).unwrap();
        assert!(!latch.is_set() && !homeless.is_set());
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-USR1", &own]).status();
        assert!(sent.unwrap().success());
        let file = folder.path().join(FILE);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !(file.exists() && latch.is_set() && homeless.is_set()) {
            assert!(Instant::now() < deadline, "the signal did not latch");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(file).unwrap();
        assert!(!latch.is_set(), "the file is the latch where it could be made");
        assert!(homeless.is_set());
    }
}
