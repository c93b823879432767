#![no_main]

#[path = "../oracles/h264_inspect.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
