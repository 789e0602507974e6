//! A file on a disk that gets full.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;

/// A disk that takes nothing any more while it is full.
#[derive(Debug)]
struct Disk {
    inner: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> Result<(), std::io::Error> {
        if self.full.load(Ordering::Relaxed) {
            Err(std::io::Error::from(ErrorKind::StorageFull))
        } else {
            Ok(())
        }
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

fn again(error: &anyhow::Error) -> bool {
    let exit = error.downcast_ref::<Exit>();
    exit.is_some_and(|exit| exit.code == code::AGAIN && exit.text.contains("make room"))
}

#[test]
fn a_full_disk_is_no_damage() {
    let full = Arc::new(AtomicBool::new(false));
    let disk = Disk {
        inner: InMemoryBackend::new(),
        full: full.clone(),
    };
    let file = PathBuf::from("trades.redb");
    let store = Store {
        database: Database::builder().create_with_backend(disk).unwrap(),
        file,
    };
    store.prepare("demo").unwrap();
    let batch = Batch {
        records: vec![(1, b"{}".to_vec())],
        ..Batch::default()
    };
    full.store(true, Ordering::Relaxed);
    let error = store.commit(&batch).unwrap_err();
    assert!(again(&error), "{error:#}");
    let error = store.prepare("demo").unwrap_err();
    assert!(is_of_the_disk(&error), "{error:?}");
}
