//! Persistence against a real nats-server and real redb files: what it keeps, answers, survives and refuses.

mod faults;
mod queries;
mod replay;
mod scene;
