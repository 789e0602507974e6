//! What this machine remembers of LEDGER beside NATS: the last acknowledged record, the intent that is on its way, and
//! the highest order id. LEDGER must contain what is remembered here, or it is not the ledger that was written.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use engine::desk::Memory;
use protocol::Hash;
use redb::{Database, ReadableDatabase as _, TableDefinition};
use runtime::{Exit, code};
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
    /// [`code::LOCKED`] when another process has it open; [`code::CONTRADICTION`] when it can't be read.
    pub fn open(state: &Path) -> anyhow::Result<(Self, Memory)> {
        let file = state.join("witness.redb");
        let name = file.display().to_string();
        let database = Database::create(&file).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Exit::error(
                code::LOCKED,
                format!("{name} is open in another process: stop the other execution on this folder"),
            ),
            other => Exit::error(
                code::CONTRADICTION,
                format!("{name} can't be read ({other}): keep it and look at it before trading"),
            ),
        })?;
        let witness = Self {
            database: Arc::new(database),
        };
        let memory = witness.recall().map_err(|error| {
            Exit::error(
                code::CONTRADICTION,
                format!("{name} can't be read ({error:#}): keep it and look at it before trading"),
            )
        })?;
        Ok((witness, memory))
    }

    fn recall(&self) -> anyhow::Result<Memory> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Memory::default()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_remembered_survives_and_is_held_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let (witness, memory) = Witness::open(folder.path()).unwrap();
        assert_eq!(memory.sequence, 0);
        let memory = Memory {
            sequence: 7,
            hash: Hash::of(b"seven"),
            order_id_max: 41,
        };
        witness
            .remember(memory.clone(), Some("an intent".to_owned()))
            .await
            .unwrap();
        let again = Witness::open(folder.path()).unwrap_err();
        assert_eq!(
            again.downcast_ref::<Exit>().map(|exit| exit.code),
            Some(code::LOCKED)
        );
        drop(witness);
        assert_eq!(Witness::open(folder.path()).unwrap().1, memory);
    }

    #[tokio::test]
    async fn a_file_that_was_damaged_is_refused_and_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let (witness, _) = Witness::open(folder.path()).unwrap();
        let memory = Memory {
            sequence: 7,
            hash: Hash::of(b"seven"),
            order_id_max: 41,
        };
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
            let exit = error.downcast_ref::<Exit>().map(|exit| exit.code);
            assert_eq!(
                exit,
                Some(code::CONTRADICTION),
                "{} bytes: {error:#}",
                bytes.len()
            );
        }
    }
}
