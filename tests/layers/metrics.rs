//! What the source measures, against the table that `docs/METRICS.md` is.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::{root, sources};

const PREFIX: &str = "taskplane_";

#[test]
fn every_measure_is_in_the_table_and_there_is_no_other() {
    let document = fs::read_to_string(root().join("docs/METRICS.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let table: BTreeSet<String> = rows.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect();
    let mut measured = BTreeSet::new();
    for file in ["crates", "services"].into_iter().flat_map(|directory| sources(&root().join(directory))) {
        let source = fs::read_to_string(&file).unwrap();
        let product = source.split("#[cfg(test)]").next().unwrap();
        // Targets of log filters and names of crates look alike, and stand for no measure.
        let literals = product.split('"').skip(1).step_by(2).filter(|text| text.starts_with(PREFIX));
        let names = literals.filter(|text| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        measured.extend(names.filter(|name| !is_crate(name)).map(str::to_owned));
    }
    assert_eq!(measured, table);
}

fn is_crate(name: &str) -> bool {
    ["crates", "services"].iter().any(|directory| root().join(directory).join(&name[PREFIX.len()..]).is_dir())
}
