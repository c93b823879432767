//! The pages' modules without a browser: their types, and where what they vendor comes from.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod web_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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

/// Browsers fetch modules that are named ahead all at once, instead of level by level: this is most of the time to the first picture.
#[test]
fn the_page_names_all_modules_of_a_cameras_view_ahead() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let mut needed = BTreeSet::new();
    for entry in ["main.js", "i18n/en.js", "views/camera.js"] {
        follow(&web.join("assets/js").join(entry), &mut needed);
    }
    let page = fs::read_to_string(web.join("index.html")).unwrap();
    let named: BTreeSet<PathBuf> = page
        .lines()
        .filter_map(|line| {
            line.split_once(" rel=\"modulepreload\" href=\"/")?
                .1
                .split('"')
                .next()
        })
        .map(|path| web.join(path))
        .collect();
    needed.remove(&web.join("assets/js/main.js"));
    assert!(needed.len() > 15, "{needed:?}");
    assert_eq!(named, needed);
}

/// The module and all that it imports, to the last.
fn follow(module: &Path, found: &mut BTreeSet<PathBuf>) {
    if !found.insert(module.to_owned()) || module.parent().unwrap().ends_with("vendor") {
        return;
    }
    let text = fs::read_to_string(module).unwrap();
    let imported = text.lines().filter_map(|line| {
        let line = line
            .strip_prefix("import ")
            .or_else(|| line.strip_prefix("} from "))?;
        line.split('\'').nth(1)
    });
    for path in imported {
        let mut target = module.parent().unwrap().to_owned();
        for part in path.split('/') {
            match part {
                "." => {}
                ".." => assert!(target.pop()),
                name => target.push(name),
            }
        }
        follow(&target, found);
    }
}
