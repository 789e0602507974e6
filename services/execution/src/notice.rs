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
    heard: Heard,
}

impl Link {
    /// Listens from now on.
    pub fn new(notices: NoticeStream) -> Self {
        Self {
            notices,
            heard: Heard::default(),
        }
    }

    /// Why nothing may be sent, if so, by all that was told until now.
    pub fn reason(&mut self, broker: &Broker) -> Option<String> {
        self.listen(broker);
        self.heard.reason()
    }

    /// Whether this incarnation can still send: what ended stays ended.
    ///
    /// # Errors
    /// With what ended it.
    pub fn alive(&self) -> Result<(), String> {
        self.heard.ended.clone().map_or(Ok(()), Err)
    }

    /// A reading of the broker's truth begins now.
    pub fn read(&mut self, broker: &Broker) {
        self.listen(broker);
        self.heard.read = self.heard.changes;
    }

    /// That reading was compared with the ledger: what changed before it began is dealt with.
    pub fn compared(&mut self) {
        self.heard.compared = self.heard.read;
    }

    fn listen(&mut self, broker: &Broker) {
        // Unconstrained: what is there already must be seen, however much this task did before.
        while let Some(told) = tokio::task::unconstrained(self.notices.next()).now_or_never() {
            let Some(notice) = told else {
                self.heard.end("the gateway's notices ended".to_owned());
                break;
            };
            self.heard.note(&notice);
        }
        if !broker.client.is_connected() {
            self.heard.end("the connection to the gateway is lost".to_owned());
        }
    }
}

/// What was heard, and how much of it the broker was compared after. An outage that came and went is not forgotten: the
/// gateway may hold what happened meanwhile.
#[derive(Debug, Default)]
struct Heard {
    links: Links,
    /// Losses and returns until now.
    changes: u64,
    /// How many of them came before the last reading began.
    read: u64,
    /// How many of them came before a reading that was compared.
    compared: u64,
    /// Why nothing can be sent any more.
    ended: Option<String>,
}

impl Heard {
    fn note(&mut self, notice: &Notice) {
        match self.links.note(notice) {
            Meaning::Nothing => {}
            Meaning::Closed(_) | Meaning::Whole => self.changes += 1,
            Meaning::End(text) => self.end(format!("the gateway says {text}")),
        }
    }

    fn end(&mut self, text: String) {
        self.ended.get_or_insert(text);
    }

    fn reason(&self) -> Option<String> {
        let down = || self.links.reason().map(|broken| format!("{broken} is down"));
        let unread =
            || (self.changes > self.compared).then(|| "a link was down and is not compared yet".to_owned());
        self.ended.clone().or_else(down).or_else(unread)
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

    #[test]
    fn an_outage_that_came_and_went_keeps_orders_back_until_a_later_reading() {
        let mut heard = Heard::default();
        heard.note(&notice(2104));
        assert_eq!(heard.reason(), None, "nothing was broken");
        heard.note(&notice(1100));
        assert_eq!(
            heard.reason().unwrap(),
            "the gateway's link to the broker is down"
        );
        // A reading in the midst of it does not count.
        heard.read = heard.changes;
        heard.note(&notice(1102));
        heard.compared = heard.read;
        assert_eq!(heard.reason().unwrap(), "a link was down and is not compared yet");
        heard.read = heard.changes;
        heard.compared = heard.read;
        assert_eq!(heard.reason(), None);
        // Nor does one that began before.
        heard.note(&notice(1100));
        heard.note(&notice(1101));
        heard.compared = heard.read;
        assert!(heard.reason().is_some());
    }

    #[test]
    fn what_ended_stays_ended_with_its_first_reason() {
        let mut heard = Heard::default();
        heard.note(&notice(NOTICE_STREAM_LAG_CODE));
        let why = heard.reason();
        assert!(why.as_ref().unwrap().starts_with("the gateway says"));
        heard.note(&notice(1300));
        heard.compared = heard.changes;
        assert_eq!((heard.reason(), heard.ended.clone()), (why.clone(), why));
    }
}
