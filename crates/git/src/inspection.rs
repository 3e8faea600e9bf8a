//! What a mirror may hold: what only this crate writes.

use std::{fs, io::ErrorKind, path::Path};

use trust::ObjectFormat;

use crate::{
    arrival::{self, FETCHED, FETCHED_PACKS},
    exchange::quoted,
    mirror::{MirrorError, file},
};

/// The whole configuration of a mirror with SHA-1 ids; another one was not written by us.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
/// That of a mirror with SHA-256 ids.
const CONFIG_SHA256: &str =
    "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n";
/// What would change the meaning of the objects, or lead out of the mirror.
const REFUSED: [&str; 10] = [
    "refs/replace",
    "objects/info/alternates",
    "objects/info/http-alternates",
    "info/grafts",
    "shallow",
    "packed-refs",
    "commondir",
    "gitdir",
    "config.worktree",
    "worktrees",
];

/// The whole configuration of a mirror.
pub(crate) const fn config(format: ObjectFormat) -> &'static str {
    match format {
        ObjectFormat::Sha1 => CONFIG,
        ObjectFormat::Sha256 => CONFIG_SHA256,
    }
}

/// Refuses a mirror that another program wrote to.
pub(crate) fn inspect(dir: &Path) -> Result<(), MirrorError> {
    let foreign = |what: String| Err(MirrorError::Foreign { path: dir.to_owned(), what });
    for name in ["", "objects", arrival::PACKS, "refs", "refs/writ", FETCHED, FETCHED_PACKS] {
        match fs::symlink_metadata(dir.join(name)) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return foreign(format!("{} is not a directory", if name.is_empty() { "it" } else { name })),
            Err(error) if name == "refs/writ" && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(file(dir, "read the mirror", error)),
        }
    }
    for name in REFUSED {
        match fs::symlink_metadata(dir.join(name)) {
            Ok(_) => return foreign(format!("{name} is present")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(file(dir, "read the mirror", error)),
        }
    }
    let found = fs::read(dir.join("config")).map_err(|source| file(dir, "read the mirror's settings", source))?;
    if ![ObjectFormat::Sha1, ObjectFormat::Sha256].iter().any(|format| config(*format).as_bytes() == found) {
        return foreign("its settings (config) were changed".to_owned());
    }
    for (folder, allowed) in [
        ("refs", &["heads", "tags", "writ"][..]),
        ("refs/heads", &[]),
        ("refs/tags", &[]),
        ("refs/writ", &["incoming", "tag", "pins"]),
        // What libgit2 reads beside the objects of the mirror: it may lead elsewhere as well.
        (FETCHED, &["pack"]),
    ] {
        for name in names(dir, folder)? {
            if !allowed.contains(&name.trim_end_matches(".lock")) {
                return foreign(format!("{folder}/{} is present", quoted(&name)));
            }
        }
    }
    Ok(())
}

fn names(dir: &Path, folder: &str) -> Result<Vec<String>, MirrorError> {
    let failed = |source| file(dir, "list a folder of the mirror", source);
    let entries = match fs::read_dir(dir.join(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}
