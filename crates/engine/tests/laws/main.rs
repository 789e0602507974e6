//! Laws of the money side: the fold, the order's life and the trader, tried with many inputs.

mod fold;
mod story;
mod trading;
mod world;
