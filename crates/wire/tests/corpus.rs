//! Replays the fuzz corpus through the oracles of the fuzz targets: what was found once is tested always.

// An oracle may treat everything but the expected variant as a failure.
#![allow(clippy::wildcard_enum_match_arm)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../../fuzz/oracles/camera_command.rs"]
mod camera_command;
#[path = "../../../fuzz/oracles/camera_message.rs"]
mod camera_message;
#[path = "../../../fuzz/oracles/camera_sdp.rs"]
mod camera_sdp;
#[path = "../../../fuzz/oracles/demux.rs"]
mod demux;
#[path = "../../../fuzz/oracles/h264_depacketize.rs"]
mod h264_depacketize;
#[path = "../../../fuzz/oracles/h264_inspect.rs"]
mod h264_inspect;
#[path = "../../../fuzz/oracles/json.rs"]
mod json;
#[path = "../../../fuzz/oracles/kurento_message.rs"]
mod kurento_message;
#[path = "../../../fuzz/oracles/kurento_sdp.rs"]
mod kurento_sdp;
#[path = "../../../fuzz/oracles/mp4_still.rs"]
mod mp4_still;
#[path = "../../../fuzz/oracles/rtcp.rs"]
mod rtcp;
#[path = "../../../fuzz/oracles/rtp.rs"]
mod rtp;
#[path = "../../../fuzz/oracles/sdp.rs"]
mod sdp;

type Oracle = fn(&[u8]);

const TARGETS: [(&str, Oracle); 12] = [
    ("camera_command", camera_command::check),
    ("camera_message", camera_message::check),
    ("camera_sdp", camera_sdp::check),
    ("demux", demux::check),
    ("h264_depacketize", h264_depacketize::check),
    ("h264_inspect", h264_inspect::check),
    ("kurento_message", kurento_message::check),
    ("kurento_sdp", kurento_sdp::check),
    ("mp4_still", mp4_still::check),
    ("rtcp", rtcp::check),
    ("rtp", rtp::check),
    ("sdp", sdp::check),
];

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The sorted names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a readable folder")
                .file_name()
                .into_string()
                .expect("a UTF-8 name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_input_of_the_corpus_holds() {
    for (target, check) in TARGETS {
        let folder = fuzz_dir().join("corpus").join(target);
        let inputs = names(&folder);
        assert!(!inputs.is_empty(), "no corpus in {}", folder.display());
        for input in inputs {
            let data = fs::read(folder.join(&input)).unwrap();
            let held = std::panic::catch_unwind(|| check(&data));
            assert!(
                held.is_ok(),
                "fuzz/corpus/{target}/{input} breaks its oracle"
            );
        }
    }
}

#[test]
fn every_target_has_an_oracle_that_is_replayed() {
    let expected: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
    let sources = names(&fuzz_dir().join("fuzz_targets"));
    let targets: Vec<&str> = sources
        .iter()
        .filter_map(|name| name.strip_suffix(".rs"))
        .collect();
    assert_eq!(targets, expected);
    assert_eq!(names(&fuzz_dir().join("corpus")), expected);
}
