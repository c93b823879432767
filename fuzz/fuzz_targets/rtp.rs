#![no_main]

#[path = "../oracles/rtp.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
