//! When a reading counts as the second look at orders that the first one did not show: what two looks miss is absent.

use super::{AGAIN_MS, Desk};
use crate::reconcile::Truth;

impl Desk {
    /// The last reading is compared with the ledger. With it goes since when what it does not show may count.
    pub(super) fn compared(&mut self, truth: Truth) -> Truth {
        self.link.compared();
        if self.link.is_whole() {
            let first = self.fresh.get_or_insert(self.began);
            // Of a clock that was set back nobody knows how long that was.
            *first = self.began.min(*first);
        }
        Truth {
            whole_since: self.fresh,
            ..truth
        }
    }

    /// How long the last reading began too early to be a second look at what the first fresh one did not show.
    pub(super) fn second_early_ms(&self) -> Option<u64> {
        let first = self.fresh.unwrap_or(self.began);
        let passed = u64::try_from(self.began.duration_since(first).as_millis()).unwrap_or_default();
        let early = self.second_pass_ms.saturating_sub(passed);
        (early > 0).then(|| early.max(AGAIN_MS))
    }
}
