//! The pages' modules without a browser: their types, and where what they vendor comes from.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod web_support;

use std::fs;
use std::path::Path;
use std::process::Command;

use apiary::reason::Code;
use web_support::{packages, said};

/// A catalogue that lacks a text, or a text that no catalogue has, is an error of types too.
#[test]
fn the_types_of_all_modules_fit() {
    let folder = packages();
    said(
        Command::new(folder.join("node_modules/.bin/tsc"))
            .arg("-p")
            .arg(&folder),
    );
}

/// Whatever the server may say by a code, pages say in the language of who reads it.
#[test]
fn every_code_of_the_server_has_a_text_in_every_language() {
    let texts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/assets/js/i18n");
    for language in ["en", "de"] {
        let catalogue = fs::read_to_string(texts.join(language).with_extension("js")).unwrap();
        let lacks = |code: &&&str| !catalogue.contains(&format!("  'reason.{code}': "));
        let missing: Vec<_> = Code::ALL.iter().filter(lacks).collect();
        assert!(missing.is_empty(), "{language}.js lacks {missing:?}");
        let known = catalogue.lines().filter_map(|line| {
            line.trim_start()
                .strip_prefix("'reason.")?
                .split('\'')
                .next()
        });
        let old: Vec<_> = known.filter(|code| !Code::ALL.contains(code)).collect();
        assert!(
            old.is_empty(),
            "{language}.js has texts that nothing says: {old:?}"
        );
    }
}

#[test]
fn what_is_vendored_is_what_the_packages_hold() {
    packages();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = tempfile::tempdir().unwrap();
    said(Command::new(root.join("scripts/vendor-web.sh")).arg(made.path()));
    for file in ["lit.js", "normalize.css"] {
        let vendored = fs::read(root.join("web/assets/vendor").join(file)).unwrap();
        assert!(
            vendored == fs::read(made.path().join(file)).unwrap(),
            "web/assets/vendor/{file} differs: run scripts/vendor-web.sh"
        );
    }
}
