//! Messages that came in.

use std::fmt;

use crate::ERROR;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text or a message.
    Bytes(&'a [u8]),
}

/// A view of a body's fields, of which the last one of a number counts.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if *first < 0x80 {
            return Some(value);
        }
    }
    None
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = &mut self.0;
        let key = varint(bytes)?;
        let value = match key & 7 {
            0 => Value::Int(varint(bytes)?.cast_signed()),
            1 => {
                let (value, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Value::Double(f64::from_le_bytes(*value))
            }
            _ => {
                let length = usize::try_from(varint(bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Value::Bytes(value)
            }
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn get(self, field: u32) -> Option<Value<'a>> {
        let of = self.filter(|(number, _)| *number == u64::from(field));
        of.last().map(|(_, value)| value)
    }

    /// An integer; zero where it is absent.
    #[must_use]
    pub fn int(self, field: u32) -> i64 {
        match self.get(field) {
            Some(Value::Int(value)) => value,
            _ => 0,
        }
    }

    /// A number.
    #[must_use]
    pub fn double(self, field: u32) -> Option<f64> {
        match self.get(field) {
            Some(Value::Double(value)) => Some(value),
            _ => None,
        }
    }

    /// A text; empty where it is absent.
    #[must_use]
    pub fn text(self, field: u32) -> &'a str {
        std::str::from_utf8(self.part(field).0).unwrap()
    }

    /// A message within this one; empty where it is absent.
    #[must_use]
    pub fn part(self, field: u32) -> Self {
        match self.get(field) {
            Some(Value::Bytes(value)) => Self(value),
            _ => Self(&[]),
        }
    }
}

/// A message as it came: its number and its body.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Which message it is.
    pub number: i32,
    /// Its fields.
    pub body: Vec<u8>,
}

impl Message {
    fn fields(&self) -> Fields<'_> {
        Fields(&self.body)
    }

    /// An integer.
    #[must_use]
    pub fn int(&self, field: u32) -> Option<i64> {
        match self.fields().get(field)? {
            Value::Int(value) => Some(value),
            other => panic!("{other:?} is no integer"),
        }
    }

    /// A number.
    #[must_use]
    pub fn double(&self, field: u32) -> Option<f64> {
        match self.fields().get(field)? {
            Value::Double(value) => Some(value),
            other => panic!("{other:?} is no double"),
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, field: u32) -> Option<String> {
        match self.fields().get(field)? {
            Value::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?} is no text"),
        }
    }

    /// All messages in a repeated field.
    #[must_use]
    pub fn parts(&self, field: u32) -> Vec<Self> {
        let of = self.fields().filter(|(number, _)| *number == u64::from(field));
        of.map(|(_, value)| match value {
            Value::Bytes(bytes) => Self {
                number: 0,
                body: bytes.to_vec(),
            },
            other => panic!("{other:?} is no message"),
        })
        .collect()
    }

    /// The message in a field.
    #[must_use]
    pub fn part(&self, field: u32) -> Self {
        self.parts(field).pop().unwrap()
    }

    /// The code of an error frame.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        (self.number == ERROR).then(|| self.int(3)).flatten()
    }

    /// What it says, in few words.
    #[must_use]
    pub fn line(&self) -> String {
        let text = |field| self.text(field).unwrap_or_default();
        match self.number {
            3 => format!("{} {}/{}", text(2), text(3), text(4)),
            ERROR => format!("error {}", self.int(3).unwrap()),
            5 => format!("open {}", self.part(4).text(1).unwrap_or_default()),
            11 => format!("fill {}", self.part(3).text(7).unwrap_or_default()),
            59 => "fee".into(),
            number => format!("message {number}"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.number)?;
        let shown = self.fields().map(|(field, value)| match value {
            Value::Int(value) => (field, value.to_string()),
            Value::Double(value) => (field, value.to_string()),
            Value::Bytes(bytes) => (field, String::from_utf8_lossy(bytes).escape_debug().to_string()),
        });
        to.debug_map().entries(shown).finish()
    }
}
