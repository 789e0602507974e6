//! What the gateway's notices mean for ordering: close the gate and wait, look again, or end.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use ibapi::subscriptions::NoticeStream;
use ibapi::{NOTICE_STREAM_LAG_CODE, Notice, SUBSCRIPTION_LAG_CODE, TRANSPORT_RECONNECT_CODE};

use crate::broker::Broker;

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

/// The link as it is at this moment: a second ear on the gateway's notices, for the last look before an order leaves.
/// The desk hears the same a little later, when it is done with what it does.
pub struct Link {
    notices: NoticeStream,
    links: Links,
    ended: Option<String>,
}

impl Link {
    /// Listens from now on.
    pub fn new(notices: NoticeStream) -> Self {
        Self {
            notices,
            links: Links::default(),
            ended: None,
        }
    }

    /// Why nothing may be sent, if so, by all that was told until now.
    pub fn reason(&mut self, broker: &Broker) -> Option<String> {
        // Unconstrained: what is there already must be seen, however much this task did before.
        while let Some(told) = tokio::task::unconstrained(self.notices.next()).now_or_never() {
            let Some(notice) = told else {
                self.ended = Some("the gateway's notices ended".to_owned());
                break;
            };
            if let Meaning::End(text) = self.links.note(&notice) {
                self.ended = Some(format!("the gateway says {text}"));
            }
        }
        let lost = !broker.client.is_connected();
        let lost = lost.then(|| "the connection to the gateway is lost".to_owned());
        let down = || self.links.reason().map(|broken| format!("{broken} is down"));
        self.ended.clone().or(lost).or_else(down)
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
