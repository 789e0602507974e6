//! The gateway's link to the broker, by what the gateway tells of it: whether it is whole, and whether the broker was
//! compared with the ledger since it changed.

use std::collections::BTreeSet;

/// What a connection says until the gateway has spoken.
const UNTOLD: &str = "the gateway has not said yet that its link to the broker is up (2104, 2106 or 2158)";

/// What is down at the moment, each by its name: one farm does not speak for another. Of a new connection nothing is
/// known: what the gateway lost before is not always told again, so its silence is not taken for a link that is up.
#[derive(Debug, Default)]
pub struct Broken {
    down: BTreeSet<String>,
    /// The gateway said on this connection that something behind it is up.
    told: bool,
}

impl Broken {
    /// Takes over what a notice of IB's `code` says; false when it says nothing of a link or a farm.
    pub fn hear(&mut self, code: i32, text: &str) -> bool {
        // What is said of a sleeping farm may end its sentence before the name, which may have full stops too.
        let named = text.rsplit_once(':').or_else(|| text.split_once("demand."));
        let name = named.map_or("", |(_, name)| name.trim());
        let farm = |kind: &str| match name {
            "" => format!("a {kind} farm"),
            name => format!("the {kind} farm {name}"),
        };
        let name = match code {
            1100..=1102 | 2110 => "the gateway's link to the broker".to_owned(),
            2103 | 2104 | 2108 => farm("market data"),
            2105 | 2106 => farm("historical data"),
            2157 | 2158 => farm("definitions"),
            _ => return false,
        };
        match code {
            1100 | 2103 | 2105 | 2110 => {
                self.down.insert(name);
            }
            // It sleeps, and comes upon demand: it is not down any more, but that says nothing of the link.
            2108 => {
                self.down.remove(&name);
            }
            // What defines stocks was read before: without its farm all goes on.
            2157 => {}
            _ => {
                self.down.remove(&name);
                self.told = true;
            }
        }
        true
    }

    /// Why the way to the broker does not count as whole, if so: the first of what is down, or that nothing was said.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let down = self.down.first().map(|name| format!("{name} is down"));
        down.or_else(|| (!self.told).then(|| UNTOLD.to_owned()))
    }
}

/// What a notice means for ordering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Nothing,
    /// Nothing may be sent until it is whole again, for this reason.
    Closed(String),
    /// It is whole again: compare with the broker, then open.
    Whole,
    /// End: what was missed can't be known here.
    End,
}

/// What is broken, and how much of what changed the broker was compared after. An outage that came and went is not
/// forgotten: the gateway may hold what happened meanwhile.
#[derive(Debug, Default)]
pub struct Link {
    broken: Broken,
    /// Losses and returns until now.
    changes: u64,
    /// How many of them came before the last reading began.
    read: u64,
    /// How many of them came before a reading that was compared.
    compared: u64,
    /// Why nothing can be sent any more.
    ended: Option<String>,
}

impl Link {
    /// Takes over what a notice of IB's `code` says.
    pub fn hear(&mut self, code: i32, text: &str) -> Meaning {
        let before = self.broken.why();
        // The port was reset.
        if code == 1300 {
            self.end(format!("the gateway says {code} {text}"));
            return Meaning::End;
        }
        // Orders need neither history nor definitions; but a gateway that has those has its link.
        if matches!(code, 2105 | 2157) || !self.broken.hear(code, text) {
            return Meaning::Nothing;
        }
        let why = self.broken.why();
        // A farm that is told to be there was there before; a link that is back was away.
        if matches!(code, 2104 | 2106 | 2108 | 2158) && why == before {
            return Meaning::Nothing;
        }
        let meaning = why.map_or(Meaning::Whole, |why| {
            Meaning::Closed(format!("{why}: {code} {text}"))
        });
        self.changes += 1;
        meaning
    }

    /// Nothing can be sent any more. The first reason stays.
    pub fn end(&mut self, why: String) {
        self.ended.get_or_insert(why);
    }

    /// Why nothing can be sent any more, if so.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// A reading of the broker's truth begins.
    pub fn read(&mut self) {
        self.read = self.changes;
    }

    /// True when something changed since the last reading began: it may not show what the gateway held.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.read < self.changes
    }

    /// That reading was compared with the ledger: what changed before it began is dealt with.
    pub fn compared(&mut self) {
        self.compared = self.read;
    }

    /// True while nothing is broken, from when the gateway first said so.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.broken.why().is_none()
    }

    /// Why nothing may be sent, if so.
    #[must_use]
    pub fn closed(&self) -> Option<String> {
        let down = || {
            let why = self.broken.why()?;
            Some(format!("{why}: nothing is ordered until it is up and compared"))
        };
        let unread = || {
            (self.compared < self.changes).then(|| "the broker is being compared with the ledger".to_owned())
        };
        self.ended.clone().or_else(down).or_else(unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_only_when_all_is_whole() {
        let mut link = Link::default();
        let mut hear = |code| link.hear(code, "said");
        assert_eq!(hear(2104), Meaning::Whole, "the first word of it");
        assert_eq!(hear(2104), Meaning::Nothing);
        assert!(matches!(hear(1100), Meaning::Closed(_)));
        assert!(matches!(hear(2103), Meaning::Closed(_)));
        assert!(matches!(hear(1102), Meaning::Closed(_)));
        assert_eq!(hear(2104), Meaning::Whole);
        assert!(matches!(hear(2110), Meaning::Closed(_)));
        assert_eq!(hear(1101), Meaning::Whole);
        assert_eq!(hear(1102), Meaning::Whole, "its loss was not told");
        assert_eq!(hear(1300), Meaning::End);
    }

    #[test]
    fn one_farm_does_not_speak_for_another() {
        let mut link = Link::default();
        link.hear(2103, "Market data farm connection is broken:usfarm");
        link.hear(2104, "Market data farm connection is OK:cashfarm");
        link.hear(2104, "Market data farm connection is OK");
        assert!(link.closed().unwrap().contains("usfarm is down"));
        let back = link.hear(2104, "Market data farm connection is OK:usfarm");
        assert_eq!(back, Meaning::Whole);
    }

    #[test]
    fn a_farm_that_sleeps_is_not_down_any_more() {
        let asleep = "Market data farm connection is inactive but should be available upon demand.";
        for name in ["usfarm", "usfarm.nj"] {
            for text in [format!("{asleep}{name}"), format!("{asleep}:{name}")] {
                let mut link = Link::default();
                link.hear(2158, "Sec-def data farm connection is OK:secdefil");
                let down = format!("Market data farm connection is broken:{name}");
                assert!(matches!(link.hear(2103, &down), Meaning::Closed(_)));
                assert_eq!(link.hear(2108, &format!("{asleep}cashfarm")), Meaning::Nothing);
                assert_eq!(link.hear(2108, asleep), Meaning::Nothing);
                assert!(!link.is_whole());
                assert_eq!(link.hear(2108, &text), Meaning::Whole);
                assert!(link.closed().unwrap().contains("being compared"));
            }
        }
        // It is no word that the link is up.
        let mut link = Link::default();
        link.hear(2103, "Market data farm connection is broken:usfarm");
        let text = format!("{asleep}usfarm");
        assert!(matches!(link.hear(2108, &text), Meaning::Closed(_)));
        assert!(link.closed().unwrap().contains("has not said yet"));
    }

    #[test]
    fn silence_is_not_a_link_that_is_up() {
        for code in [1101, 1102, 2104, 2106, 2158] {
            let mut link = Link::default();
            assert!(link.closed().unwrap().contains("has not said yet"));
            // What a gateway says of other things, or of a farm that is away or asleep, does not open it.
            for other in [202, 399, 2105, 2107, 2108, 2157] {
                assert_eq!(link.hear(other, "said"), Meaning::Nothing);
            }
            assert!(!link.is_whole());
            assert_eq!(link.hear(code, "said"), Meaning::Whole);
            assert!(link.closed().unwrap().contains("being compared"));
            link.read();
            link.compared();
            assert_eq!(link.closed(), None);
        }
        let mut link = Link::default();
        link.hear(1100, "said");
        assert_eq!(link.hear(2158, "said"), Meaning::Nothing);
        assert!(link.closed().unwrap().contains("link to the broker is down"));
    }

    #[test]
    fn an_outage_that_came_and_went_keeps_orders_back_until_a_later_reading() {
        let mut link = Link::default();
        link.hear(2104, "said");
        link.read();
        link.compared();
        assert_eq!(link.closed(), None, "nothing was broken");
        link.hear(1100, "said");
        assert!(link.closed().unwrap().contains("link to the broker is down"));
        // A reading in the midst of it does not count.
        link.read();
        link.hear(1102, "said");
        assert!(link.missed());
        link.compared();
        assert!(link.closed().unwrap().contains("being compared"));
        link.read();
        assert!(!link.missed());
        link.compared();
        assert_eq!(link.closed(), None);
        // Nor does one that began before.
        link.hear(1100, "said");
        link.hear(1101, "said");
        link.compared();
        assert!(link.closed().is_some());
    }

    #[test]
    fn what_ended_stays_ended_with_its_first_reason() {
        let mut link = Link::default();
        link.hear(1300, "reset");
        link.end("another reason".to_owned());
        link.read();
        link.compared();
        assert_eq!(link.closed().unwrap(), "the gateway says 1300 reset");
        assert_eq!(link.ended(), link.closed().as_deref());
    }
}
