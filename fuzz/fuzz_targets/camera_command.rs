#![no_main]

#[path = "../oracles/json.rs"]
mod json;
#[path = "../oracles/camera_command.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
