//! What the gateway's notices mean for ordering: close the gate and wait, look again, or end.

use std::collections::BTreeSet;

use ibapi::{NOTICE_STREAM_LAG_CODE, Notice, SUBSCRIPTION_LAG_CODE, TRANSPORT_RECONNECT_CODE};

/// What to do about a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Nothing,
    /// Nothing may be sent until it is whole again, for this reason.
    Closed(String),
    /// It is whole again: compare with the broker, then open.
    Whole,
    /// End: what was missed can't be known here.
    End(String),
}

/// What is broken at the moment.
#[derive(Debug, Default)]
pub struct Links {
    broken: BTreeSet<&'static str>,
}

impl Links {
    /// Takes a notice over.
    pub fn note(&mut self, notice: &Notice) -> Meaning {
        let told = || format!("{} {}", notice.code, notice.message);
        let was_whole = self.broken.is_empty();
        match notice.code {
            1100 | 2110 => self.broken.insert("the gateway's link to the broker"),
            1101 | 1102 => self.broken.remove("the gateway's link to the broker"),
            2103 => self.broken.insert("a market data farm"),
            2104 => self.broken.remove("a market data farm"),
            1300 | SUBSCRIPTION_LAG_CODE | NOTICE_STREAM_LAG_CODE | TRANSPORT_RECONNECT_CODE => {
                return Meaning::End(told());
            }
            _ => return Meaning::Nothing,
        };
        match (was_whole, self.reason()) {
            (_, Some(reason)) => Meaning::Closed(format!("{reason} is down: {}", told())),
            (false, None) => Meaning::Whole,
            (true, None) if notice.code == 1101 || notice.code == 1102 => Meaning::Whole,
            (true, None) => Meaning::Nothing,
        }
    }

    /// What is broken, if anything.
    pub fn reason(&self) -> Option<String> {
        self.broken.first().map(|broken| (*broken).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(code: i32) -> Notice {
        serde_json::from_value(serde_json::json!({"code": code, "message": "said", "error_time": null}))
            .unwrap()
    }

    #[test]
    fn the_gate_opens_only_when_all_is_whole() {
        let mut links = Links::default();
        assert_eq!(links.note(&notice(2104)), Meaning::Nothing);
        assert!(matches!(links.note(&notice(1100)), Meaning::Closed(_)));
        assert!(matches!(links.note(&notice(2103)), Meaning::Closed(_)));
        assert!(matches!(links.note(&notice(1102)), Meaning::Closed(_)));
        assert_eq!(links.note(&notice(2104)), Meaning::Whole);
        assert!(matches!(links.note(&notice(2110)), Meaning::Closed(_)));
        assert_eq!(links.note(&notice(1101)), Meaning::Whole);
        assert!(matches!(links.note(&notice(1300)), Meaning::End(_)));
    }
}
