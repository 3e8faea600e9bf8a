//! Many packs become one. Every fetch leaves a pack, and each look-up of an object goes through all of them.
//!
//! Runs in a child like that of a fetch, under the same limits; nothing is lost when it fails or is killed: the packs
//! it would replace are removed only after the new one is on disk, and what is left half-done the next fetch removes.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

use git2::{Odb, Oid, Repository};

use crate::exchange::quoted;

/// Packs after which a mirror is compacted, and tried again as often: at a hundred fetches a day twice a day. With so
/// many a look-up takes some 10 µs.
pub(crate) const PACKS: usize = 50;
/// The most objects that are compacted: 30 MB of memory. More stay in their packs.
const MAX_OBJECTS: usize = 200_000;
/// The largest object of a mirror that is compacted, in bytes: ten of them are in memory at once. Mirrors with larger
/// ones keep their packs.
const MAX_OBJECT_BYTES: usize = 1 << 20;

const FOLDER: &str = crate::arrival::PACKS;

/// Names of the packs of a mirror, without their ending.
pub(crate) fn packs(mirror: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(mirror.join(FOLDER))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".pack").map(str::to_owned));
    }
    Ok(names)
}

/// Compacts the mirror that is the working directory.
pub(crate) fn compact() -> Result<(), String> {
    let mirror = Path::new(".");
    let disk = |error: io::Error| quoted(&error.to_string());
    let before = packs(mirror).map_err(disk)?;
    write().map_err(|error| quoted(error.message()))?;
    let after = packs(mirror).map_err(disk)?;
    let fresh: Vec<&String> = after.difference(&before).collect();
    let [fresh] = fresh.as_slice() else { return Ok(()) };
    for ending in ["pack", "idx"] {
        File::open(mirror.join(FOLDER).join(format!("{fresh}.{ending}")))
            .and_then(|file| file.sync_all())
            .map_err(disk)?;
    }
    File::open(mirror.join(FOLDER)).and_then(|folder| folder.sync_all()).map_err(disk)?;
    // Without its index a pack is not looked at any more.
    for (name, ending) in before.iter().flat_map(|name| [(name, "idx"), (name, "pack")]) {
        fs::remove_file(mirror.join(FOLDER).join(format!("{name}.{ending}"))).map_err(disk)?;
    }
    Ok(())
}

/// Writes a pack of all objects; its index is made from the bytes of the pack, so that every object is hashed again.
fn write() -> Result<(), git2::Error> {
    let repository = Repository::open_bare(".")?;
    let ids = objects(&repository.odb()?)?;
    let mut builder = repository.packbuilder()?;
    builder.set_threads(1);
    for id in &ids {
        builder.insert_object(*id, None)?;
    }
    builder.write(Path::new(FOLDER), 0)?;
    if builder.written() == ids.len() { Ok(()) } else { Err(git2::Error::from_str("not every object was written")) }
}

fn objects(odb: &Odb<'_>) -> Result<BTreeSet<Oid>, git2::Error> {
    let mut ids = BTreeSet::new();
    let every = odb.foreach(|id| {
        ids.insert(*id);
        ids.len() <= MAX_OBJECTS
    });
    if ids.len() > MAX_OBJECTS {
        return Err(git2::Error::from_str("it has more objects than are compacted"));
    }
    every?;
    for id in &ids {
        if odb.read_header(*id)?.0 > MAX_OBJECT_BYTES {
            return Err(git2::Error::from_str("it has an object that is larger than what is compacted"));
        }
    }
    Ok(ids)
}
