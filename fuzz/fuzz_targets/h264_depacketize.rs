#![no_main]

#[path = "../oracles/h264_depacketize.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
