//! The table of `docs/trust.md` names a test for each attack, and there is such a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::stage::Test;

/// How many attacks are known.
const ATTACKS: u32 = 34;

/// The names of all functions that are marked as tests, or listed as cases, below these folders.
fn tests(folders: &[PathBuf], found: &mut BTreeSet<String>) -> Result<()> {
    for folder in folders {
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                tests(&[path], found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                let mut lines = text.lines().map(str::trim);
                while let Some(line) = lines.next() {
                    if line != "#[test]" {
                        continue;
                    }
                    let name = lines.find_map(|line| line.strip_prefix("fn ")).and_then(|rest| rest.split('(').next());
                    found.extend(name.map(str::to_owned));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_attack_of_the_documentation_has_its_tests() -> Test {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["tests", "crates/trust/tests", "crates/trust/src", "crates/git/tests"].map(|name| root.join(name));
    let mut found = BTreeSet::new();
    tests(&folders, &mut found)?;
    let text = std::fs::read_to_string(root.join("docs/trust.md")).context("cannot read docs/trust.md")?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.chars().nth(2).is_some_and(|digit| digit.is_ascii_digit()))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut played: BTreeSet<&str> =
        found.iter().map(String::as_str).filter(|name| name.starts_with("attack_")).collect();
    for number in 1..=ATTACKS {
        let prefix = format!("{number} ");
        let row = rows.iter().find(|row| row.first().is_some_and(|cell| cell.starts_with(&prefix)));
        let row = row.with_context(|| format!("docs/trust.md has no row for attack {number}"))?;
        let named: Vec<&str> = row.last().context("an empty row")?.split('`').skip(1).step_by(2).collect();
        for name in &named {
            let name = name.rsplit("::").next().unwrap_or_default();
            ensure!(found.contains(name), "attack {number}: there is no test {name}");
        }
        let own = format!("attack_{number:02}_");
        ensure!(named.iter().any(|name| name.starts_with(&own)), "attack {number}: no end-to-end test is named");
        for name in named {
            played.remove(name);
        }
    }
    ensure!(played.is_empty(), "not in docs/trust.md: {played:?}");
    Ok(())
}
