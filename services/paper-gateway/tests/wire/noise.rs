//! A seeded source of requests that no sane client sends: random bytes, valid requests with some bytes changed, and
//! well-formed messages with absurd values.

use wire_client::{Body, about, framed, numbered, stock};

/// Random numbers from a seed; the same seed makes the same numbers.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    /// A number of a request, most often of one that exists.
    pub fn number(&mut self) -> i32 {
        match i32::try_from(1 + self.below(112)).unwrap() {
            // The one that asks whether noise has been handled.
            105 => 3,
            number => number,
        }
    }

    /// A request that could be meant, some of whose bytes have been changed.
    pub fn mutant(&mut self) -> Vec<u8> {
        let number = self.number();
        let mut body = self.plausible(number).0;
        for _ in 0..self.below(4) {
            if body.is_empty() {
                break;
            }
            let at = self.below(body.len());
            match self.below(5) {
                0 => body[at] ^= 1 << self.below(8),
                1 => body[at] = self.next() as u8,
                2 => body.truncate(at),
                3 => body.insert(at, self.next() as u8),
                _ => body.extend_from_within(at..),
            }
        }
        framed(number, &body)
    }

    /// A well-formed message with values that make no sense.
    pub fn absurd(&mut self) -> Vec<u8> {
        let number = self.number();
        let mut body = self.plausible(number);
        // Of a field that comes twice the last one counts. One of the wrong type ends the connection.
        if self.below(20) == 0 {
            body = self.field(body);
        }
        framed(number, &body.0)
    }

    fn field(&mut self, body: Body) -> Body {
        let field = u32::try_from(1 + self.below(12)).unwrap();
        match self.below(5) {
            0 => body.int(field, self.integer()),
            1 => body.double(field, self.double()),
            2 => {
                let contract = self.contract();
                body.part(field, &contract)
            }
            3 => {
                let order = self.order();
                body.part(field, &order)
            }
            _ => {
                let text = self.text();
                body.text(field, &text)
            }
        }
    }

    /// A value of the right type in a field that is known; now and then any value in any field.
    fn typed(&mut self, body: Body, integers: &[u32], doubles: &[u32], texts: &[u32]) -> Body {
        match self.below(60) {
            0 => self.field(body),
            1..=20 => body.int(self.of(integers), self.integer()),
            21..=40 => body.double(self.of(doubles), self.double()),
            _ => {
                let (field, text) = (self.of(texts), self.text());
                body.text(field, &text)
            }
        }
    }

    fn integer(&mut self) -> i64 {
        let any = self.next().cast_signed();
        self.of(&[
            0,
            1,
            -1,
            5,
            1000,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
            any,
        ])
    }

    fn double(&mut self) -> f64 {
        let any = f64::from_bits(self.next());
        self.of(&[
            0.0,
            -0.0,
            1.0,
            -5.0,
            0.001,
            1e308,
            -1e308,
            1e-308,
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            any,
        ])
    }

    fn text(&mut self) -> String {
        let fixed = self.of(&[
            "",
            " ",
            "AAPL",
            "0",
            "-1",
            "1e400",
            "NaN",
            "0.0000000000000000000000000001",
            "79228162514264337593543950335",
            "99999999999999999999999999999999",
            "20261123-09:30:00",
            "99991231 23:59:59",
            "00010101 00:00:00 UTC",
            "20260230 10:00:00",
            "20261123 09:30:00 Mars/Base",
            "1 Y",
            "365 D",
            "86400 S",
            "1 secs",
            "5 secs",
            "1 min",
            "1 month",
            "TRADES",
            "SCHEDULE",
            "BID_ASK",
            "BUY",
            "SELL",
            "GTD",
            "DU1000001",
            "All",
            "$LEDGER:ALL",
            "233,165",
            "\u{0}\u{202e}é",
            "-",
            "1-1",
            ",,,",
        ]);
        match self.below(20) {
            0 => "9".repeat(self.below(60_000)),
            1 => "A,".repeat(self.below(20_000)),
            2 => "é".repeat(self.below(5_000)),
            _ => fixed.to_owned(),
        }
    }

    fn contract(&mut self) -> Body {
        let mut contract = stock(self.of(&["AAPL", "NVDA", "SOFI", "ZZZZ", ""]));
        for _ in 0..self.below(3) {
            contract = self.typed(contract, &[1], &[5, 7], &[2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14]);
        }
        contract
    }

    fn order(&mut self) -> Body {
        let quantity = self.of(&[
            "1",
            "10",
            "0.5",
            "",
            "-3",
            "1e9",
            "100000000000000000000000000000",
            "x",
            "0",
        ]);
        let kind = self.of(&[
            "MKT",
            "LMT",
            "STP",
            "STP LMT",
            "TRAIL",
            "TRAIL LIMIT",
            "MOC",
            "LOC",
            "MIT",
            "LIT",
            "REL",
            "",
            "mkt",
        ]);
        let tif = self.of(&["DAY", "GTC", "IOC", "FOK", "GTD", "OPG", ""]);
        let mut order = Body::default()
            .text(5, self.of(&["BUY", "SELL", "SSHORT", "", "buy"]))
            .text(6, quantity)
            .text(8, kind)
            .text(11, tif)
            .int(66, i64::from(self.below(8) > 0));
        if self.below(2) == 0 {
            order = order.double(9, self.double()).double(10, self.double());
        }
        for _ in 0..self.below(4) {
            order = self.typed(
                order,
                &[1, 2, 3, 4, 7, 19, 30, 65, 66, 72],
                &[9, 10, 22, 23, 106],
                &[5, 6, 8, 11, 12, 26, 27, 28, 61, 115],
            );
        }
        order
    }

    /// A request as its number has it, with a few of its values made up.
    fn plausible(&mut self, number: i32) -> Body {
        let id = self.of(&[1, 2, 3, 77, -1, 0, i64::from(i32::MAX)]);
        // Long stretches of the past are a lot of work, and are asked for seldom.
        let long = self.of(&["1 D", "2 W", "1 M", "5 Y"]);
        let duration = if self.below(100) == 0 {
            long
        } else {
            self.of(&["60 S", "600 S", "0 S", "-1 D"])
        };
        let size = self.of(&["5 secs", "1 min", "1 hour", "1 day"]);
        match number {
            3 => {
                let (contract, order) = (self.contract(), self.order());
                numbered(1 + self.next().cast_signed().rem_euclid(50_000))
                    .part(2, &contract)
                    .part(3, &order)
            }
            20 => about(id, "AAPL")
                .text(4, size)
                .text(5, duration)
                .int(9, i64::from(self.below(4) == 0)),
            96 => about(id, "AAPL")
                .text(4, "20261123-09:30:00")
                .int(5, self.of(&[1, 1000, 0, -1])),
            1 | 10 | 50 | 87 | 88 | 97 => {
                let text = self.text();
                about(id, self.of(&["AAPL", "NVDA", "SOFI"]))
                    .text(3, &text)
                    .int(3, 5)
            }
            6 | 59 | 91 => numbered(self.integer()),
            62 | 74 | 76 | 81 | 92 | 94 => {
                let text = self.text();
                numbered(id)
                    .text(2, &text)
                    .text(3, "NetLiquidation,$LEDGER")
                    .int(4, 1)
            }
            _ => numbered(id),
        }
    }
}
