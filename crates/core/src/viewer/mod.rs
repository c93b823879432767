//! A viewer: what it is answered, and what it is sent.

pub mod answer;
pub mod offer;
