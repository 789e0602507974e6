//! The messages of IB's wire protocol, declared by hand: numbers and types as both clients use them, and only
//! the fields that this server reads or writes. All scalars are optional, because absent and zero differ.

pub(crate) mod account;
pub(crate) mod market;
pub(crate) mod other;
pub(crate) mod request;
pub(crate) mod shared;
pub(crate) mod terms;
