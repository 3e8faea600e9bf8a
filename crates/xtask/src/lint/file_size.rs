//! How long a source file may be, its tests not counted: a reader holds a page in mind, not a book.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// From here on a file is reported.
const REPORTED_OVER: usize = 500;
/// From here on it is refused.
const REFUSED_OVER: usize = 800;

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let mut refused = Vec::new();
    for file in sources(&workspace.path("crates"))? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = product_lines(&text);
        let shown = file.strip_prefix(workspace.root()).unwrap_or(&file).display();
        if lines > REFUSED_OVER {
            refused.push(format!("{shown}: {lines} lines, at most {REFUSED_OVER}"));
        } else if lines > REPORTED_OVER {
            eprintln!("warning: {shown}: {lines} lines, better at most {REPORTED_OVER}");
        }
    }
    if !refused.is_empty() {
        bail!("too long:\n  {}", refused.join("\n  "));
    }
    Ok(())
}

/// Every `.rs` file in a `src` folder below, except those that hold nothing but tests; in order.
fn sources(crates: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    for member in fs::read_dir(crates).with_context(|| format!("cannot list {}", crates.display()))? {
        folders.push(member.with_context(|| format!("cannot list {}", crates.display()))?.path().join("src"));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lines before the test module, which ends a file.
fn product_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(
        |pair| matches!(pair, [attribute, module] if *attribute == "#[cfg(test)]" && module.starts_with("mod ")),
    );
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_count() {
        assert_eq!(product_lines("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(product_lines("a\n#[cfg(test)]\nuse x;\nb\n"), 4);
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("crates/a/src/deep");
        fs::create_dir_all(&source).unwrap();
        let workspace = Workspace::at(folder.path());
        fs::write(source.join("tests.rs"), "x\n".repeat(REFUSED_OVER + 1)).unwrap();
        fs::write(source.join("fine.rs"), "x\n".repeat(REFUSED_OVER)).unwrap();
        run(&workspace).unwrap();
        fs::write(source.join("long.rs"), "x\n".repeat(REFUSED_OVER + 1)).unwrap();
        assert_eq!(
            run(&workspace).unwrap_err().to_string(),
            "too long:\n  crates/a/src/deep/long.rs: 801 lines, at most 800"
        );
    }
}
