//! The schema that all migrations make, against a golden file: one that is in the world already must never be changed, only
//! followed by another.

use std::path::Path;

use apiary_store::Store as _;

use super::Home;

pub(crate) async fn the_schema_is_the_golden_one(home: impl Home) {
    home.open().await.unwrap().close().await;
    let schema = home.schema().await.join("\n") + "\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(home.golden());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &schema).unwrap();
    }
    let kept = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        kept == schema,
        "{} is not what the migrations make. If a new migration is meant, run\n\
         UPDATE_GOLDEN=1 cargo test -p apiary-store\n\
         and commit the file; a migration that is in the world already must stay as it is",
        golden.display()
    );
}
