//! Trees that were read last, parsed: files are mostly asked for folder by folder, and parsing a folder again for each of
//! its files would take time quadratic in their number.

use std::{collections::VecDeque, sync::Arc};

use git2::Oid;

use crate::tree::Node;

/// The checked entries of a tree in order of names.
pub(crate) type Folder = Arc<[(String, Node)]>;

/// The most entries that are kept: 20,000 of about 100 bytes are 2 MB. One folder is kept whatever its size, so that
/// one of [`MAX_ENTRIES`](crate::MAX_ENTRIES) (20 MB) is not parsed for each of its files.
const KEPT_ENTRIES: usize = 20_000;
/// The most folders that are kept: four ways down of the deepest path, and few enough to look through.
const KEPT_FOLDERS: usize = 256;

/// Parsed trees by id, those used last first. A tree never changes, so nothing is ever out of date.
#[derive(Default)]
pub(crate) struct Folders {
    kept: VecDeque<(Oid, Folder)>,
}

impl Folders {
    /// The tree, if it is kept.
    pub(crate) fn get(&mut self, id: Oid) -> Option<Folder> {
        let place = self.kept.iter().position(|(kept, _)| *kept == id)?;
        let found = self.kept.remove(place)?;
        let folder = Arc::clone(&found.1);
        self.kept.push_front(found);
        Some(folder)
    }

    /// Keeps a tree; those not used for longest make room.
    pub(crate) fn keep(&mut self, id: Oid, folder: Folder) {
        self.kept.push_front((id, folder));
        let mut left = KEPT_ENTRIES;
        let mut place = 0;
        self.kept.retain(|(_, folder)| {
            let fits = place == 0 || (place < KEPT_FOLDERS && left >= folder.len());
            left = left.saturating_sub(folder.len());
            place += 1;
            fits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Oid {
        Oid::from_str(&format!("{number:040x}")).unwrap()
    }

    fn folder(entries: usize) -> Folder {
        (0..entries).map(|number| (format!("{number:08}"), Node::Folder(id(number)))).collect()
    }

    fn kept(folders: &Folders) -> Vec<Oid> {
        folders.kept.iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn what_is_used_stays() {
        let mut folders = Folders::default();
        let half = KEPT_ENTRIES / 2;
        folders.keep(id(1), folder(half));
        folders.keep(id(2), folder(half));
        assert_eq!(folders.get(id(1)).map(|folder| folder.len()), Some(half));
        folders.keep(id(3), folder(half));
        assert_eq!(kept(&folders), [id(3), id(1)]);
        assert!(folders.get(id(2)).is_none());
    }

    #[test]
    fn a_folder_beyond_the_bound_is_kept_alone_and_empty_ones_do_not_pile_up() {
        let mut folders = Folders::default();
        folders.keep(id(1), folder(3));
        folders.keep(id(2), folder(10 * KEPT_ENTRIES));
        assert_eq!(kept(&folders), [id(2)]);
        for number in 0..2 * KEPT_FOLDERS {
            folders.keep(id(number), folder(0));
        }
        assert_eq!(folders.kept.len(), KEPT_FOLDERS);
    }
}
