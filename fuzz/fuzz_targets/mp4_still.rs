#![no_main]

#[path = "../oracles/mp4_still.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
