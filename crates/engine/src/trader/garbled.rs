//! What came on the bus and can't be read. It is left out, and a person is told: where nothing else comes, prices grow old
//! and opinions are missing, and no refusal would say why.

use jiff::SignedDuration;
use protocol::decision::Level;
use protocol::{Symbol, Timestamp, subject};

use super::{Garbled, Output, Trader};

/// Wall seconds between two alerts about one subject, where what can be read and what can't take turns.
const ALERT_SECONDS_MIN: i64 = 60;
/// Subjects that are remembered, at most. Of more nothing is told: the alerts before say enough.
const SUBJECTS_MAX: usize = 1_000;
/// Characters of a subject, and of why it can't be read, that are told.
const CHARACTERS_MAX: usize = 200;

/// What was told of a subject.
#[derive(Debug, Clone)]
pub(super) struct Spoilt {
    /// Wall clock of the alert.
    told: Timestamp,
    /// True once something on it could be read again.
    is_mended: bool,
}

impl Trader {
    /// Tells a person, once a subject until something on it can be read.
    pub(super) fn on_garbled(&mut self, wall: Timestamp, garbled: &Garbled) -> Vec<Output> {
        let pace = SignedDuration::from_secs(ALERT_SECONDS_MIN);
        // A clock that was set back must not put it off.
        let just_told = |told: Timestamp| told <= wall && wall.duration_since(told) < pace;
        let is_news = match self.spoilt.get(&garbled.subject) {
            Some(spoilt) => spoilt.is_mended && !just_told(spoilt.told),
            None => self.spoilt.len() < SUBJECTS_MAX,
        };
        if !is_news {
            return Vec::new();
        }
        let spoilt = Spoilt {
            told: wall,
            is_mended: false,
        };
        self.spoilt.insert(garbled.subject.clone(), spoilt);
        let [place, why] = [&garbled.subject, &garbled.why]
            .map(|text| text.chars().take(CHARACTERS_MAX).collect::<String>());
        let text = format!(
            "what came on {place} can't be read and is left out ({why}): nothing is decided from it; look at what writes there, and start it again from the build of this one"
        );
        let symbol = symbol_of(&garbled.subject);
        vec![self.alert(wall, "unreadable-message", Level::Critical, symbol, text)]
    }

    /// Something on this subject could be read.
    pub(super) fn could_read(&mut self, place: impl FnOnce() -> String) {
        if self.spoilt.is_empty() {
            return;
        }
        if let Some(spoilt) = self.spoilt.get_mut(&place()) {
            spoilt.is_mended = true;
        }
    }
}

/// Whose quotes or signals a subject carries, if so.
fn symbol_of(place: &str) -> Option<Symbol> {
    let (_, last) = place.rsplit_once('.')?;
    let symbol = last.parse().ok()?;
    [subject::quote(symbol), subject::signal(symbol)]
        .iter()
        .any(|carries| carries == place)
        .then_some(symbol)
}
