//! Mirrors that nobody needs any more are removed.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use crate::mirror::{MirrorError, UNFINISHED, file};

/// Before the name of a mirror that is being removed: whatever ends that early leaves no half of a mirror in its place.
/// No name of a namespace begins like this.
const GONE: &str = ".gone-";

/// Removes the mirrors in `folder` whose names `keep` does not want, and what an earlier removal or creation of theirs
/// left behind. Returns their names. Nobody may be using them, and nobody may be creating one of these names.
///
/// # Errors
/// When one cannot be removed; those before it are.
pub fn remove_mirrors(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, MirrorError> {
    let mut removed = Vec::new();
    for name in names(folder).map_err(|source| file(folder, "list the mirrors", source))? {
        let path = folder.join(&name);
        let failed = |source| file(&path, "remove a mirror that nobody needs", source);
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(GONE) {
            absent(&path).map_err(failed)?;
            continue;
        }
        // The name of a mirror may look like that of an unfinished one.
        let whose = name.split_once(UNFINISHED).map_or(name, |(whose, _)| whose);
        if !keep(name) && !keep(whose) {
            let gone = folder.join(format!("{GONE}{name}"));
            absent(&gone).and_then(|()| fs::rename(&path, &gone)).map_err(failed)?;
            absent(&gone).map_err(failed)?;
            removed.push(name.to_owned());
        }
    }
    Ok(removed)
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(folder) {
        // Nothing was mirrored yet.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name())).collect(),
    }
}

fn absent(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mirror;

    #[test]
    fn only_mirrors_that_nobody_needs_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("mirror");
        assert!(remove_mirrors(&folder, |_| true).unwrap().is_empty(), "there is no folder yet");
        // A name may look like that of a half-made one.
        for name in ["shop.app.new-ui", "shop.config", "team.config", "team.config.v2"] {
            Mirror::open(&folder.join(name)).unwrap();
        }
        // What a crash left: half-made ones, one that was being removed, and one that was removed before by that name.
        for left in ["shop.config.new-1-0", "team.config.new-1-0", ".gone-old.config", ".gone-team.config"] {
            fs::create_dir_all(folder.join(left).join("objects")).unwrap();
        }
        let mut removed = remove_mirrors(&folder, |name| ["shop.app.new-ui", "shop.config"].contains(&name)).unwrap();
        removed.sort();
        assert_eq!(removed, ["team.config", "team.config.new-1-0", "team.config.v2"]);
        let mut left = names(&folder).unwrap();
        left.sort();
        assert_eq!(left, ["shop.app.new-ui", "shop.config", "shop.config.new-1-0"]);
        Mirror::open(&folder.join("shop.config")).unwrap();
    }
}
