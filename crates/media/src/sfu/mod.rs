//! Our own engine: WebRTC fan-out from one camera's RTP to many browsers.

mod ports;
