//! Pictures as files: byte for byte as they were when players were seen to show them, and as FFmpeg reads them today.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::Command;

use apiary_wire::h264::nal_units;
use apiary_wire::mp4::{StillError, still};

/// Access units of x264, each one IDR with its parameter sets: Main of 322×242, and High of 1920×1080, which is cropped.
const UNITS: [(&str, &str); 2] = [("odd", "322,242"), ("high1080", "1920,1080")];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/mp4")
        .join(name)
}

fn unit(name: &str) -> Vec<u8> {
    std::fs::read(file(&format!("{name}.h264"))).unwrap()
}

#[test]
fn files_are_as_they_were() {
    for (name, _) in UNITS {
        let written = still(&unit(name)).unwrap();
        let golden = file(&format!("{name}.mp4"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &written).unwrap();
        }
        assert!(
            std::fs::read(&golden).unwrap_or_default() == written,
            "{} is another: if that is meant, see that players show it, and run this test with UPDATE_GOLDEN=1",
            golden.display()
        );
    }
}

#[test]
fn ffmpeg_finds_one_whole_picture_of_the_right_size() {
    for (name, size) in UNITS {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.mp4"));
        std::fs::write(&path, still(&unit(name)).unwrap()).unwrap();
        let shown = Command::new("ffprobe")
            .args(["-v", "error", "-show_frames", "-of", "csv=p=0"])
            .args(["-show_entries", "frame=key_frame,width,height,pict_type"])
            .arg(&path)
            .output()
            .expect("ffprobe runs; test.sh installs the package ffmpeg");
        let complaints = String::from_utf8_lossy(&shown.stderr);
        assert!(
            shown.status.success() && complaints.is_empty(),
            "{name}: {complaints}"
        );
        let frames = String::from_utf8(shown.stdout).unwrap();
        assert_eq!(frames.trim(), format!("1,{size},I"), "{name}");
    }
}

#[test]
fn what_is_no_whole_picture_makes_no_file() {
    let whole = unit("odd");
    let without = |kind: u8| {
        let kept = nal_units(&whole).filter(|nal| nal[0] & 31 != kind);
        let mut unit = Vec::new();
        for nal in kept {
            unit.extend_from_slice(&[0, 0, 0, 1]);
            unit.extend_from_slice(nal);
        }
        still(&unit)
    };
    assert_eq!(
        without(7),
        Err(StillError::Missing("sequence parameter set"))
    );
    assert_eq!(
        without(8),
        Err(StillError::Missing("picture parameter set"))
    );
    assert_eq!(without(5), Err(StillError::Missing("IDR slice")));
    assert!(without(6).is_ok(), "what only informs is left out");
    for length in 0..whole.len() {
        let _ = still(&whole[..length]);
    }
}
