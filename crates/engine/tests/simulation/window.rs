//! The gateway's daily restart, which some worlds have in the middle of things.

use crate::checks::Judges;
use crate::faults::Trouble;
use crate::world::{Event, Ms, World};

/// Length of the window in which it is expected.
const MS: Ms = 60_000;

/// When it is expected, by a host's clock and since the world began at 00:01 in New York.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    begins: Ms,
}

impl Window {
    /// Every fifth world has one: it begins in it, or is met by it.
    pub fn of(seed: u64) -> Option<Self> {
        match seed % 10 {
            3 => Some(Self { begins: 0 }),
            8 => Some(Self { begins: MS }),
            _ => None,
        }
    }

    /// The same as the settings say it.
    pub fn at(self) -> String {
        format!("00:{:02}", 1 + self.begins / MS)
    }
}

impl World {
    /// The gateway does restart in some of these worlds; in the others its sessions live on.
    pub fn plan_daily_restart(&mut self) {
        if let Some(window) = self.window
            && (self.seed / 10).is_multiple_of(2)
        {
            let ms = window.begins + self.chance.between(1_000, 25_000);
            self.after(ms, Event::DailyRestart);
        }
    }

    pub fn daily_restart(&mut self) {
        self.count("daily restart");
        self.restart_gateway();
        self.heal_after(Trouble::Gateway, 4_000);
    }
}

impl Judges<'_> {
    /// By the clock of its host nothing leaves in the window, nor after it before a reading that began then has ended.
    pub fn restart(&mut self) {
        let Some(window) = self.world.window else { return };
        let (begins, ends) = (window.begins.cast_signed(), (window.begins + MS).cast_signed());
        for sent in &self.world.evidence.sent {
            if (begins..ends).contains(&sent.clock) {
                self.wrong
                    .push(format!("order {} left in the gateway's restart", sent.id));
            }
            let mut readings = self.world.evidence.readings.iter();
            let compared = readings.any(|reading| {
                reading.run == sent.run && reading.began >= ends && reading.ended <= sent.beat
            });
            if sent.clock >= ends && !compared {
                self.wrong.push(format!(
                    "order {} left after the gateway's restart, which nobody compared",
                    sent.id
                ));
            }
        }
    }
}
