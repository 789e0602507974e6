//! Watches the folder of models: what is new there is loaded and checked beside the loop, and the loop is told
//! what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use runtime::CancellationToken;
use tokio::sync::mpsc;

use crate::model::{Model, Refused, check_name};

/// Wall time between two looks at the folder.
const LOOK_MS: u64 = 500;
/// Most files of models that are looked at.
const MODELS_MAX: usize = 64;

/// What came of a look.
#[derive(Debug)]
pub enum Found {
    /// A model that may decide from the next bar on.
    Loaded(Box<Model>),
    /// A file that may not, its name without the ending first.
    Refused(String, Refused),
    /// There is none to look at, for this reason.
    None(String),
}

/// Size and time of a model's two files: another one means that it changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Print {
    /// Newest change of either file.
    changed: SystemTime,
    file: (SystemTime, u64),
    card: Option<(SystemTime, u64)>,
}

/// What is known about the folder.
struct Watch {
    folder: PathBuf,
    /// The only model that counts; empty when all do.
    only: String,
    /// As seen at the last look.
    seen: BTreeMap<String, Print>,
    /// As loaded or refused.
    done: BTreeMap<String, Print>,
    /// True once a model was loaded.
    loaded: bool,
    /// The last reason for having none.
    none: String,
}

/// Watches until `stop`.
pub async fn watch(folder: PathBuf, only: String, found: mpsc::Sender<Found>, stop: CancellationToken) {
    let mut watch = Watch {
        folder,
        only,
        seen: BTreeMap::new(),
        done: BTreeMap::new(),
        loaded: false,
        none: String::new(),
    };
    let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        // Reading and optimising a model takes a while, and bars don't wait for it.
        let task = tokio::task::spawn_blocking(move || {
            let found = watch.look();
            (watch, found)
        });
        let Ok((back, all)) = task.await else { return };
        watch = back;
        for one in all {
            if found.send(one).await.is_err() {
                return;
            }
        }
    }
}

impl Watch {
    fn look(&mut self) -> Vec<Found> {
        let now = match self.prints() {
            Ok(now) => now,
            Err(reason) => return self.nothing(reason),
        };
        // A file that still changes is half copied; at the start nothing is.
        let first = self.seen.is_empty();
        let settled = |name: &String, print: &Print| first || self.seen.get(name) == Some(print);
        let mut due: Vec<(String, Print)> = now
            .iter()
            .filter(|(name, print)| self.done.get(*name) != Some(print) && settled(name, print))
            .map(|(name, print)| (name.clone(), print.clone()))
            .collect();
        self.seen = now.clone();
        self.done.retain(|name, _| now.contains_key(name));
        if now.is_empty() && !self.loaded {
            let wanted = if self.only.is_empty() { "NAME" } else { &self.only };
            let reason = format!(
                "{} holds no model: put {wanted}.onnx and {wanted}.toml there, see models/README.md",
                self.folder.display()
            );
            return self.nothing(reason);
        }
        // The newest good one decides: at the start the older ones behind it need not be read.
        due.sort_by(|a, b| b.1.changed.cmp(&a.1.changed).then(a.0.cmp(&b.0)));
        let mut found = Vec::new();
        let mut taken = false;
        for (name, print) in due {
            self.done.insert(name.clone(), print);
            if taken {
                continue;
            }
            match Model::load(&self.folder, &name) {
                Ok(model) => {
                    taken = true;
                    self.loaded = true;
                    found.push(Found::Loaded(Box::new(model)));
                }
                Err(refused) => found.push(Found::Refused(name, refused)),
            }
        }
        found
    }

    /// The same reason is told once.
    fn nothing(&mut self, reason: String) -> Vec<Found> {
        if self.loaded || self.none == reason {
            return Vec::new();
        }
        self.none.clone_from(&reason);
        vec![Found::None(reason)]
    }

    fn prints(&self) -> Result<BTreeMap<String, Print>, String> {
        let fail = |error: std::io::Error| {
            format!(
                "the folder {} of signal.models can't be read ({error}): make it or correct the setting",
                self.folder.display()
            )
        };
        let mut prints = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_none_or(|ending| ending != "onnx") {
                continue;
            }
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if !self.only.is_empty() && name != self.only {
                continue;
            }
            let Some(file) = about(&path) else { continue };
            let card = about(&path.with_extension("toml"));
            let changed = card.map_or(file.0, |card| card.0.max(file.0));
            prints.insert(name.to_owned(), Print { changed, file, card });
        }
        if prints.len() > MODELS_MAX {
            return Err(format!(
                "the folder {} holds {} models, at most {MODELS_MAX} are looked at: move some away",
                self.folder.display(),
                prints.len()
            ));
        }
        Ok(prints)
    }
}

/// Time of change and size of a file, of the link itself where it is one.
fn about(path: &Path) -> Option<(SystemTime, u64)> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len()))
}

/// Checks the setting that names the only model.
pub fn check_only(only: &str) -> Result<(), String> {
    if only.is_empty() {
        Ok(())
    } else {
        check_name(only).map_err(|reason| format!("signal.model: {reason}"))
    }
}
