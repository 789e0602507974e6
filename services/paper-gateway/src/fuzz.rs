//! The decoder alone, fed with random and with slightly wrong bytes: it never panics, never reads more than a frame
//! may hold, and never makes much of little. The whole gateway is fed the same way over sockets in its tests.

use bytes::Bytes;
use prost::Message;

use crate::message::request::{HistoricalDataRequest, PlaceOrderRequest};
use crate::message::shared::{Contract, Order};
use crate::request::Request;
use crate::wire::{self, FRAME_BYTES_MAX};

/// Cases where nothing else is asked for, and for each second of `TRADEWIND_FUZZ_SECONDS`.
const CASES: u64 = 20_000;
const CASES_A_SECOND: u64 = 10_000;

fn mix(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn cases() -> u64 {
    let seconds = std::env::var("TRADEWIND_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    seconds.map_or(CASES, |seconds| seconds * CASES_A_SECOND)
}

/// Bodies of requests that are all right.
fn bodies() -> Vec<(i32, Vec<u8>)> {
    let contract = Contract {
        con_id: Some(7),
        symbol: Some("AAPL".into()),
        sec_type: Some("STK".into()),
        strike: Some(f64::NAN),
        ..Contract::default()
    };
    let order = Order {
        action: Some("BUY".into()),
        total_quantity: Some("10".into()),
        lmt_price: Some(1e308),
        ..Order::default()
    };
    let place = PlaceOrderRequest {
        order_id: Some(-5),
        contract: Some(contract.clone()),
        order: Some(order.into()),
        ..PlaceOrderRequest::default()
    };
    let history = HistoricalDataRequest {
        req_id: Some(9),
        contract: Some(contract),
        end_date_time: Some("20131007 09:30:00".into()),
        ..HistoricalDataRequest::default()
    };
    vec![
        (3, place.encode_to_vec()),
        (20, history.encode_to_vec()),
        (1, vec![8, 5]),
    ]
}

#[test]
fn requests_are_decoded_or_refused() {
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let bodies = bodies();
    let (mut decoded, mut refused) = (0, 0);
    for case in 0..cases() {
        let (mut number, mut body) = bodies[(case % 3) as usize].clone();
        if mix(&mut state).is_multiple_of(2) {
            number = (mix(&mut state) % 120) as i32;
        }
        if mix(&mut state).is_multiple_of(4) {
            body = (0..mix(&mut state) % 64).map(|_| mix(&mut state) as u8).collect();
        }
        for _ in 0..mix(&mut state) % 4 {
            let length = body.len().max(1) as u64;
            let at = (mix(&mut state) % length) as usize;
            match mix(&mut state) % 3 {
                0 => body.truncate(at),
                1 => body.insert(at.min(body.len()), mix(&mut state) as u8),
                _ if at < body.len() => body[at] = mix(&mut state) as u8,
                _ => {}
            }
        }
        match Request::decode(number, Bytes::from(body)) {
            Ok(_) => decoded += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        decoded > 1000 && refused > 1000,
        "{decoded} decoded, {refused} refused"
    );
}

#[tokio::test]
async fn frames_and_greetings_are_read_or_refused() {
    let mut state = 0xD1B5_4A32_D192_ED03;
    for case in 0..cases() {
        let length = mix(&mut state) % 48;
        let mut bytes: Vec<u8> = (0..length).map(|_| mix(&mut state) as u8).collect();
        if case % 2 == 0 {
            // A head that could be one.
            let head = [0, 0, (mix(&mut state) % 2) as u8, mix(&mut state) as u8, 0, 0, 1];
            bytes.splice(0..0, head);
        }
        let mut reader = &bytes[..];
        if let Ok(Some((number, body))) = wire::read_frame(&mut reader).await {
            assert!(number > 0 && body.len() < FRAME_BYTES_MAX && body.len() + 8 <= bytes.len());
        }
        let greeting = [&b"API\0"[..], &bytes].concat();
        let mut reader = &greeting[..];
        if let Ok(version) = wire::read_greeting(&mut reader).await {
            assert!((wire::SERVER_VERSION_MIN..=wire::SERVER_VERSION_MAX).contains(&version));
        }
    }
}
