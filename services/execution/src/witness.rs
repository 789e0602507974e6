//! What this machine remembers of LEDGER beside NATS: the last acknowledged record, the intent that is on its way, and
//! the highest order id. LEDGER must contain what is remembered here, or it is not the ledger that was written.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use engine::desk::Memory;
use protocol::Hash;
use redb::{
    Database, DatabaseError, ReadableDatabase as _, StorageError, TableDefinition, TableError,
    TransactionError,
};
use runtime::{Exit, code, guarded};
use serde_json::{Value, json};

const TABLE: TableDefinition<'_, &str, &str> = TableDefinition::new("witness");
const KEY: &str = "state";

/// The file.
#[derive(Debug, Clone)]
pub struct Witness {
    database: Arc<Database>,
}

impl Witness {
    /// Opens the file, or makes an empty one.
    ///
    /// # Errors
    /// [`code::LOCKED`] when another process has it open; [`code::AGAIN`] when the disk does not let it be read or
    /// written; [`code::CONTRADICTION`] when what is in it can't be read.
    pub fn open(state: &Path) -> anyhow::Result<(Self, Memory)> {
        let file = state.join("witness.redb");
        Self::open_by(&file, || Database::create(&file))
    }

    /// The same by `create`, which tests have fail.
    fn open_by(
        file: &Path,
        create: impl FnOnce() -> Result<Database, DatabaseError>,
    ) -> anyhow::Result<(Self, Memory)> {
        let was_empty = is_empty(file);
        // A damaged file can trip redb's own asserts; that is an operating error here, not a bug.
        let opened = guarded(AssertUnwindSafe(|| -> anyhow::Result<(Self, Memory)> {
            let witness = Self {
                database: Arc::new(create()?),
            };
            let memory = witness.recall()?;
            Ok((witness, memory))
        }));
        let error = match opened {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => error,
            Err(_) => return Err(damaged(file, "its pages contradict each other")),
        };
        if matches!(error.downcast_ref(), Some(DatabaseError::DatabaseAlreadyOpen)) {
            return Err(locked(file));
        }
        if !is_of_the_disk(&error) {
            return Err(damaged(file, &format!("{error:#}")));
        }
        if was_empty {
            // Half of a new file holds no memory, and would look like damage. One that stays is told at the next start.
            let _ = std::fs::remove_file(file);
        }
        Err(unopened(file, &error))
    }

    fn recall(&self) -> anyhow::Result<Memory> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Memory::default()),
            Err(error) => return Err(error.into()),
        };
        let Some(text) = table.get(KEY)? else {
            return Ok(Memory::default());
        };
        let value: Value = serde_json::from_str(text.value())?;
        let field = |name: &str| value.get(name).with_context(|| format!("no field {name}"));
        Ok(Memory {
            sequence: field("sequence")?.as_u64().context("sequence")?,
            hash: Hash(field("hash")?.as_str().context("hash")?.to_owned()),
            order_id_max: i32::try_from(field("order_id_max")?.as_i64().context("order_id_max")?)?,
        })
    }

    /// Remembers, to the disk. `pending` is the intent on its way, for whoever reads the file by hand.
    ///
    /// # Errors
    /// When the disk does not take it; then nothing may be sent.
    pub async fn remember(&self, memory: Memory, pending: Option<String>) -> anyhow::Result<()> {
        let database = self.database.clone();
        let text = json!({
            "sequence": memory.sequence, "hash": memory.hash, "order_id_max": memory.order_id_max, "pending": pending,
        })
        .to_string();
        let commit = move || -> anyhow::Result<()> {
            let transaction = database.begin_write()?;
            transaction.open_table(TABLE)?.insert(KEY, text.as_str())?;
            transaction.commit()?;
            Ok(())
        };
        tokio::task::spawn_blocking(commit)
            .await
            .context("the witness thread ended")?
            .context("the witness is not on disk")
    }
}

/// True when nothing can be remembered in a file, for there is none or it has no byte.
fn is_empty(file: &Path) -> bool {
    match std::fs::metadata(file) {
        Ok(about) => about.len() == 0,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// True for an error of the disk, which says nothing of what is in the file. persistence has its own of these few
/// lines, for `runtime`, the one crate both know, may not know redb.
fn is_of_the_disk(error: &anyhow::Error) -> bool {
    let storage = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(DatabaseError::Storage(storage)), ..)
        | (_, Some(TransactionError::Storage(storage)), _)
        | (.., Some(TableError::Storage(storage))) => Some(storage),
        _ => error.downcast_ref(),
    };
    match storage {
        Some(StorageError::Io(io)) => !is_content(io.kind()),
        other => matches!(other, Some(StorageError::PreviousIo)),
    }
}

/// True for an error that speaks of what is in the file: a place that no file can have comes of damage, too.
fn is_content(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
    )
}

fn locked(file: &Path) -> anyhow::Error {
    let text = format!(
        "{} is open in another process: stop the other execution on this folder",
        file.display()
    );
    Exit::error(code::LOCKED, text)
}

fn unopened(file: &Path, error: &anyhow::Error) -> anyhow::Error {
    let text = format!(
        "{} can't be opened ({error:#}): make room on its disk, or correct its rights; nothing it remembers is lost",
        file.display()
    );
    Exit::error(code::AGAIN, text)
}

fn damaged(file: &Path, why: &str) -> anyhow::Error {
    let text = format!(
        "{} can't be read ({why}): keep it and look at it before trading",
        file.display()
    );
    Exit::error(code::CONTRADICTION, text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A disk that takes nothing any more while it is full.
    #[derive(Debug, Clone, Default)]
    struct Disk {
        inner: Arc<InMemoryBackend>,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn fill(&self, full: bool) {
            self.full.store(full, Ordering::Relaxed);
        }

        fn room(&self) -> Result<(), std::io::Error> {
            if self.full.load(Ordering::Relaxed) {
                Err(std::io::Error::from(ErrorKind::StorageFull))
            } else {
                Ok(())
            }
        }

        /// Opens the witness that is on it.
        fn open(&self) -> anyhow::Result<(Witness, Memory)> {
            let file = Path::new("a disk/witness.redb");
            Witness::open_by(file, || Database::builder().create_with_backend(self.clone()))
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, std::io::Error> {
            self.inner.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
            self.inner.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
            self.room()?;
            self.inner.set_len(len)
        }

        fn sync_data(&self) -> Result<(), std::io::Error> {
            self.room()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
            self.room()?;
            self.inner.write(offset, data)
        }
    }

    fn at(sequence: u64) -> Memory {
        Memory {
            sequence,
            hash: Hash::of(b"a record"),
            order_id_max: 41,
        }
    }

    fn exit(error: &anyhow::Error) -> Option<u8> {
        error.downcast_ref::<Exit>().map(|exit| exit.code)
    }

    #[tokio::test]
    async fn what_a_full_disk_did_not_take_is_not_remembered() {
        let disk = Disk::default();
        let (witness, _) = disk.open().unwrap();
        witness.remember(at(7), None).await.unwrap();
        disk.fill(true);
        let error = witness.remember(at(8), None).await.unwrap_err();
        assert!(format!("{error:#}").contains("not on disk"), "{error:#}");
        drop(witness);
        disk.fill(false);
        assert_eq!(disk.open().unwrap().1, at(7));
    }

    #[tokio::test]
    async fn a_full_disk_at_the_start_is_no_damage() {
        let disk = Disk::default();
        disk.fill(true);
        let error = disk.open().unwrap_err();
        assert_eq!(exit(&error), Some(code::AGAIN), "a new one: {error:#}");
        disk.fill(false);
        let (witness, memory) = disk.open().unwrap();
        assert_eq!(memory, Memory::default());
        witness.remember(at(7), None).await.unwrap();
        drop(witness);
        disk.fill(true);
        let error = disk.open().unwrap_err();
        assert_eq!(exit(&error), Some(code::AGAIN), "a known one: {error:#}");
        disk.fill(false);
        assert_eq!(disk.open().unwrap().1, at(7));
    }

    #[tokio::test]
    async fn a_disk_that_fails_takes_no_memory_and_leaves_no_half_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("witness.redb");
        let half = || -> Result<Database, DatabaseError> {
            let full = std::io::Error::from(ErrorKind::StorageFull);
            if !file.exists() {
                std::fs::write(&file, [0; 100]).unwrap();
            }
            Err(full.into())
        };
        let error = Witness::open_by(&file, half).unwrap_err();
        assert_eq!(exit(&error), Some(code::AGAIN), "{error:#}");
        let (witness, memory) = Witness::open(folder.path()).unwrap();
        assert_eq!(memory, Memory::default(), "the half is gone");
        witness.remember(at(7), None).await.unwrap();
        drop(witness);
        let error = Witness::open_by(&file, half).unwrap_err();
        assert_eq!(exit(&error), Some(code::AGAIN), "{error:#}");
        assert_eq!(Witness::open(folder.path()).unwrap().1, at(7));
    }

    #[test]
    fn damage_that_redb_trips_over_is_told_as_damage() {
        let error =
            Witness::open_by(Path::new("witness.redb"), || panic!("a page is of another tree")).unwrap_err();
        assert_eq!(exit(&error), Some(code::CONTRADICTION), "{error:#}");
        assert!(format!("{error:#}").contains("keep it"), "{error:#}");
    }

    #[tokio::test]
    async fn what_is_remembered_survives_and_is_held_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let (witness, memory) = Witness::open(folder.path()).unwrap();
        assert_eq!(memory.sequence, 0);
        let memory = at(7);
        witness
            .remember(memory.clone(), Some("an intent".to_owned()))
            .await
            .unwrap();
        let again = Witness::open(folder.path()).unwrap_err();
        assert_eq!(exit(&again), Some(code::LOCKED));
        drop(witness);
        assert_eq!(Witness::open(folder.path()).unwrap().1, memory);
    }

    #[tokio::test]
    async fn a_file_that_was_damaged_is_refused_and_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let (witness, _) = Witness::open(folder.path()).unwrap();
        let memory = at(7);
        witness.remember(memory.clone(), None).await.unwrap();
        drop(witness);
        let file = folder.path().join("witness.redb");
        let whole = std::fs::read(&file).unwrap();
        let field = whole.windows(8).position(|part| part == b"sequence").unwrap();
        let mut renamed = whole.clone();
        renamed[field] = b'S';
        let damaged = [
            whole[..whole.len() / 2].to_vec(),
            whole[..100].to_vec(),
            vec![0; whole.len()],
            b"not a database at all".to_vec(),
            renamed,
        ];
        for bytes in damaged {
            std::fs::write(&file, &bytes).unwrap();
            let error = Witness::open(folder.path()).unwrap_err();
            assert_eq!(
                exit(&error),
                Some(code::CONTRADICTION),
                "{} bytes: {error:#}",
                bytes.len()
            );
        }
    }
}
