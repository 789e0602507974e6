//! What is not traded or not known here, answered as a broker answers an account that has none of it. No request
//! is left without an answer: one that waits for ever hangs a client.

use super::Hub;
use crate::contracts::UNKNOWN;
use crate::message::other::{
    DepthExchange, DepthExchanges, FamilyCode, FamilyCodes, HistoricalNewsEnd, NumberedText, SmartComponent,
    SmartComponents, Text,
};
use crate::message::request::{Empty, Numbered};
use crate::peer::NO_REQUEST;

/// Exchanges of the stocks, and the letters by which quotes name them.
const EXCHANGES: [(&str, &str); 4] = [("NASDAQ", "Q"), ("NYSE", "N"), ("ARCA", "P"), ("PINK", "U")];
/// Parameters of a scanner that scans nothing.
const SCANNER: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ScanParameterResponse></ScanParameterResponse>";
/// Stops the subscription to news of the exchanges, and starts it.
const NEWS_BULLETINS: i32 = 12;

impl Hub {
    pub(super) fn other(&mut self, session: u64, number: i32, id: Option<i32>) {
        let account = self.name.clone();
        let numbered = Numbered { req_id: id };
        let peer = self.peer(session);
        match number {
            // There are no bulletins, so none are told.
            NEWS_BULLETINS => {}
            24 => peer.send(19, &text(SCANNER)),
            67 => peer.send(
                67,
                &NumberedText {
                    req_id: id,
                    text: Some(String::new()),
                },
            ),
            // No options, no soft dollars, no news.
            78 => peer.send(76, &numbered),
            79 => peer.send(77, &numbered),
            85 => peer.send(85, &Empty {}),
            86 => peer.send(
                87,
                &HistoricalNewsEnd {
                    req_id: id,
                    has_more: Some(false),
                },
            ),
            80 => {
                let code = FamilyCode {
                    account_id: Some(account),
                    family_code: Some(String::new()),
                };
                peer.send(78, &FamilyCodes { codes: vec![code] });
            }
            82 => peer.send(80, &depth_exchanges()),
            83 => peer.send(82, &smart_components(id)),
            _ => {
                let (code, text) = refusal(number);
                match id {
                    Some(id) => peer.error(id, code, &text),
                    None if SESSION_REQUESTS.contains(&number) => peer.error(NO_REQUEST, code, &text),
                    None => tracing::debug!(session, number, "a message that is no request"),
                }
            }
        }
    }
}

/// Requests that are refused though they have no id: for advisors, and those of an old way to log in.
const SESSION_REQUESTS: [i32; 5] = [18, 65, 66, 72, 73];

fn refusal(number: i32) -> (i32, String) {
    let (code, text) = match number {
        18 | 19 => (
            321,
            "Error validating request.-'b' : cause - FA data operations ignored for non FA customers.",
        ),
        21 | 54 | 55 => (200, UNKNOWN),
        22 => (
            162,
            "Historical Market Data Service error message:scanners are not served by the paper gateway",
        ),
        52 => (
            430,
            "We are sorry, but fundamentals data for the security specified is not available.",
        ),
        65 | 66 | 72 | 73 => (
            321,
            "Error validating request.-'b' : cause - Intent to authenticate needs to be expressed during initial connect request.",
        ),
        84 => (10172, "Failed to request news article:No data available"),
        100 | 102 => (10276, "News feed is not allowed."),
        number => {
            let text = format!(
                "Error validating request.-'b' : cause - request {number} is not served by the paper gateway"
            );
            return (321, text);
        }
    };
    (code, text.to_owned())
}

fn text(text: &str) -> Text {
    Text {
        text: Some(text.to_owned()),
    }
}

fn depth_exchanges() -> DepthExchanges {
    let of = |exchange: &str| DepthExchange {
        exchange: Some(exchange.to_owned()),
        sec_type: Some("STK".into()),
        listing_exch: Some(String::new()),
        service_data_type: Some("Deep".into()),
    };
    DepthExchanges {
        descriptions: EXCHANGES.iter().map(|(exchange, _)| of(exchange)).collect(),
    }
}

fn smart_components(id: Option<i32>) -> SmartComponents {
    let components = (0..)
        .zip(EXCHANGES)
        .map(|(bit, (exchange, letter))| SmartComponent {
            bit: Some(bit),
            exchange: Some(exchange.to_owned()),
            letter: Some(letter.to_owned()),
        });
    SmartComponents {
        req_id: id,
        components: components.collect(),
    }
}
