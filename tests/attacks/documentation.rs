//! The table of `docs/trust.md` names tests for each attack, and there are such tests; also for those that have no number.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::stage::Test;

/// How many attacks are known.
const ATTACKS: u32 = 34;

/// Adds the names of all tests below these folders, and of the files that they are in.
fn tests(folders: impl IntoIterator<Item = PathBuf>, found: &mut BTreeSet<String>) -> Result<()> {
    for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                tests([path], found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                let mut marked = text.split("#[test]\n").skip(1).peekable();
                if marked.peek().is_some() {
                    found.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
                }
                let name = |part: &str| Some(part.split_once("fn ")?.1.split_once('(')?.0.to_owned());
                found.extend(marked.filter_map(name));
            }
        }
    }
    Ok(())
}

/// What stands in back quotes.
fn in_code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_attack_of_the_documentation_has_its_tests() -> Test {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    tests([root.join("tests")], &mut found)?;
    for folder in std::fs::read_dir(root.join("crates")).context("cannot read crates")? {
        let folder = folder?.path();
        tests([folder.join("src"), folder.join("tests")], &mut found)?;
    }
    let text = std::fs::read_to_string(root.join("docs/trust.md")).context("cannot read docs/trust.md")?;
    let mut named_attacks = BTreeSet::new();
    let table = text.lines().skip_while(|line| *line != "| attack | what stops it | tests |").skip(2);
    for row in table.take_while(|line| line.starts_with("| ")) {
        let names: Vec<&str> = row.rsplit('|').nth(1).into_iter().flat_map(in_code).collect();
        ensure!(!names.is_empty(), "no test is named for {row}");
        for name in &names {
            let is_test = name.rsplit("::").next().is_some_and(|name| found.contains(name));
            ensure!(is_test || root.join(name).exists(), "there is no test {name}, of {row}");
        }
        named_attacks.extend(names.into_iter().map(str::to_owned));
    }
    for number in 1..=ATTACKS {
        let prefix = format!("| {number} ");
        let cells = text.lines().filter(|line| line.starts_with(&prefix)).filter_map(|line| line.rsplit('|').nth(1));
        let names: Vec<&str> = cells.flat_map(in_code).collect();
        let own = format!("attack_{number:02}_");
        ensure!(names.iter().any(|name| name.starts_with(&own)), "attack {number}: no end-to-end test is named");
    }
    let left = found.iter().find(|name| name.starts_with("attack_") && !named_attacks.contains(*name));
    ensure!(left.is_none(), "not in docs/trust.md: {left:?}");
    Ok(())
}
