//! Messages on their way out.

use crate::OFFSET;

/// The body of a message, field by field.
#[derive(Clone, Debug, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// A body without any field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7F {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Adds an integer.
    #[must_use]
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a message within this one.
    #[must_use]
    pub fn part(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }
}

/// A frame around a body.
#[must_use]
pub fn framed(number: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &(number + OFFSET).to_be_bytes(), body].concat()
}

/// A body that begins with a request id.
#[must_use]
pub fn numbered(id: i64) -> Body {
    Body::new().int(1, id)
}

/// A contract of a stock.
#[must_use]
pub fn stock(symbol: &str) -> Body {
    let named = Body::new().text(2, symbol).text(3, "STK");
    named.text(8, "SMART").text(10, "USD")
}

/// A request id and a stock, as most requests for data begin.
#[must_use]
pub fn about(id: i64, symbol: &str) -> Body {
    numbered(id).part(2, &stock(symbol))
}
