//! A push that is not part of the repository yet, as the hooks of Git see it: its objects are in folders of their own, and
//! the refs are where they were.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use git2::ErrorCode;
use trust::{CommitId, HistoryError};

use crate::{exchange::quoted, objects::Objects};

/// The most symbolic refs that are followed to the one behind them, as Git.
const MAX_SYMBOLIC: usize = 5;

impl Objects {
    /// Opens a repository together with folders of objects that its own files do not name: the quarantine of a push. Which
    /// they are is the caller's to know. An object is what its id says wherever it lies, so a folder can add objects but
    /// change none.
    ///
    /// # Errors
    /// When there is no readable repository, or the path of a folder is no UTF-8.
    pub fn open_with(dir: &Path, folders: &[PathBuf]) -> Result<Self, HistoryError> {
        let objects = Self::open(dir)?;
        let odb = objects.repository().odb().map_err(|error| unreadable(&error))?;
        for folder in folders {
            let path = folder.to_str().ok_or_else(|| HistoryError::Read {
                reason: format!("{} is no UTF-8 path", quoted(&folder.to_string_lossy())),
            })?;
            odb.add_disk_alternate(path).map_err(|error| unreadable(&error))?;
        }
        drop(odb);
        Ok(objects)
    }

    /// The same with refs where a push would move them; `None` where it would remove one.
    #[must_use]
    pub fn with_tips(mut self, tips: BTreeMap<String, Option<CommitId>>) -> Self {
        self.tips = tips;
        self
    }

    /// The ref that is written when this one is: itself, or the one behind it if it is symbolic.
    ///
    /// # Errors
    /// When it cannot be read, or too many follow one another.
    pub fn ref_behind(&self, name: &str) -> Result<String, HistoryError> {
        let mut name = name.to_owned();
        for _ in 0..=MAX_SYMBOLIC {
            let target = match self.repository().find_reference(&name) {
                Ok(found) => found.symbolic_target().map_err(|error| unreadable(&error))?.map(str::to_owned),
                Err(error) if error.code() == ErrorCode::NotFound => None,
                Err(error) => return Err(unreadable(&error)),
            };
            match target {
                Some(target) => name = target,
                None => return Ok(name),
            }
        }
        Err(HistoryError::Limit { what: format!("symbolic refs up to {}", quoted(&name)), limit: MAX_SYMBOLIC as u64 })
    }

    /// Where a ref is, or would be after the push, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tip(&self, name: &str) -> Result<Option<CommitId>, HistoryError> {
        let name = self.ref_behind(name)?;
        if let Some(tip) = self.tips.get(&name) {
            return Ok(*tip);
        }
        match self.repository().refname_to_id(&name) {
            Ok(id) => Ok(id.to_string().parse().ok()),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(HistoryError::Read { reason: format!("{name}: {}", quoted(error.message())) }),
        }
    }

    /// A setting of the repository itself; those of the machine and of the user are not looked at.
    ///
    /// # Errors
    /// When the settings cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>, HistoryError> {
        let found = self.repository().config().and_then(|settings| settings.get_string(name));
        match found {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// The folder with the repository's own files: `.git`, or the repository if it is bare.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.repository().path()
    }
}

fn unreadable(error: &git2::Error) -> HistoryError {
    HistoryError::Read { reason: quoted(error.message()) }
}
