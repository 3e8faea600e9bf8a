//! Many packs become one. Every accepted fetch leaves a pack, which has the objects once more that those in it are stored as
//! differences to, and each look-up of an object goes through all packs. What no pin leads to is left out.
//!
//! Runs in a child like that of a fetch, under the same limits; nothing is lost when it fails or is killed: the packs
//! it would replace are removed only after the new one is on disk, and what is left half-done the next fetch removes.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use git2::{ObjectType, Odb, Oid, Repository};

use crate::{
    arrival,
    exchange::quoted,
    format,
    pins::{self, PINS},
};

/// Packs after which a mirror is compacted, and tried again as often: at a hundred fetches a day twice a day. With so
/// many a look-up takes some 10 µs.
pub(crate) const PACKS: usize = 50;
/// The most objects that are compacted: 30 MB of memory. More stay in their packs.
const MAX_OBJECTS: usize = 200_000;
/// The largest object that is compacted, in bytes: ten of them are in memory at once. Packs with a larger one stay.
const MAX_OBJECT_BYTES: usize = 1 << 20;

const FOLDER: &str = arrival::PACKS;

/// Names of the packs of a mirror, without their ending.
pub(crate) fn packs(mirror: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(mirror.join(FOLDER))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".pack").map(str::to_owned));
    }
    Ok(names)
}

/// Compacts the mirror that is the working directory, in at most `room` bytes beside what is there.
pub(crate) fn compact(room: u64) -> Result<(), String> {
    let disk = |error: io::Error| quoted(&error.to_string());
    let mirror = Path::new(".");
    // What is pinned meanwhile would not be among what is needed.
    let _lock = pins::lock(mirror).map_err(|error| quoted(&error.to_string()))?;
    let (names, ids) = choose(room).map_err(|error| quoted(&error.to_string()))?;
    if names.len() < 2 || ids.is_empty() {
        return Ok(());
    }
    let before = packs(mirror).map_err(disk)?;
    write(&ids).map_err(|error| quoted(error.message()))?;
    let after = packs(mirror).map_err(disk)?;
    let fresh: Vec<&String> = after.difference(&before).collect();
    let [fresh] = fresh.as_slice() else { return Ok(()) };
    for ending in ["pack", "idx"] {
        File::open(file(fresh, ending)).and_then(|file| file.sync_all()).map_err(disk)?;
    }
    File::open(FOLDER).and_then(|folder| folder.sync_all()).map_err(disk)?;
    // Without its index a pack is not looked at any more.
    for (name, ending) in names.iter().flat_map(|name| [(name, "idx"), (name, "pack")]) {
        fs::remove_file(file(name, ending)).map_err(disk)?;
    }
    Ok(())
}

fn file(name: &str, ending: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.{ending}"))
}

/// The packs that become one, and what is needed of their objects. The smallest come first, those of single fetches: they are many, and have
/// the same bases again and again. Together they have no more bytes than the new one may have.
fn choose(room: u64) -> Result<(Vec<String>, BTreeSet<Oid>), Box<dyn Error>> {
    let repository = Repository::open_bare(".")?;
    let odb = repository.odb()?;
    let needed = needed(&repository)?;
    let mut sizes = Vec::new();
    for name in packs(Path::new("."))? {
        sizes.push((fs::metadata(file(&name, "pack"))?.len(), name));
    }
    sizes.sort();
    let (mut chosen, mut ids, mut bytes) = (Vec::new(), BTreeSet::new(), 0_u64);
    for (size, name) in sizes {
        bytes = bytes.saturating_add(size);
        if bytes > room {
            break;
        }
        let mut own = arrival::ids(&file(&name, "idx"), format::of(repository.object_format()))?;
        own.retain(|id| needed.as_ref().is_none_or(|needed| needed.contains(id)));
        if ids.len().saturating_add(own.len()) > MAX_OBJECTS {
            break;
        }
        if all_small(&odb, &own)? {
            ids.extend(own);
            chosen.push(name);
        }
    }
    Ok((chosen, ids))
}

/// What the pins lead to: a push of which only the first commits were pinned left the others here as well. `None` if that
/// cannot be told, or is more than is compacted; then all is needed.
fn needed(repository: &Repository) -> Result<Option<BTreeSet<Oid>>, git2::Error> {
    let (mut needed, mut ahead) = (BTreeSet::new(), Vec::new());
    for pin in repository.references_glob(&format!("{PINS}*"))? {
        ahead.extend(pin?.target());
    }
    while let Some(id) = ahead.pop() {
        if !needed.insert(id) {
            continue;
        }
        if let Ok(commit) = repository.find_commit(id) {
            ahead.extend(commit.parent_ids().chain([commit.tree_id()]).filter(|next| !needed.contains(next)));
        } else if let Ok(tree) = repository.find_tree(id) {
            for entry in &tree {
                match entry.kind() {
                    Some(ObjectType::Tree) if !needed.contains(&entry.id()) => ahead.push(entry.id()),
                    Some(ObjectType::Blob) => drop(needed.insert(entry.id())),
                    _ => {}
                }
            }
        } else {
            return Ok(None);
        }
        if needed.len() > MAX_OBJECTS {
            return Ok(None);
        }
    }
    Ok(Some(needed).filter(|needed| !needed.is_empty()))
}

fn all_small(odb: &Odb<'_>, ids: &[Oid]) -> Result<bool, git2::Error> {
    for id in ids {
        if odb.read_header(*id)?.0 > MAX_OBJECT_BYTES {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a pack of these objects; its index is made from the bytes of the pack, so that every object is hashed again.
fn write(ids: &BTreeSet<Oid>) -> Result<(), git2::Error> {
    let repository = Repository::open_bare(".")?;
    let mut builder = repository.packbuilder()?;
    builder.set_threads(1);
    for id in ids {
        builder.insert_object(*id, None)?;
    }
    builder.write(Path::new(FOLDER), 0)?;
    if builder.written() == ids.len() { Ok(()) } else { Err(git2::Error::from_str("not every object was written")) }
}
