//! A viewer: what it is answered, and what it is sent.
//!
//! [`offer`] and [`answer`] negotiate, [`session`] holds ICE, DTLS and SRTP, [`media`] decides what is sent and [`track`]
//! heads and seals it. Sockets, rings and the timer belong to the worker that serves the viewer.

pub mod answer;
pub mod media;
pub mod offer;
pub mod session;
pub mod track;
