//! Entries of who changed an object, where that was known later than what was done about it.

use audit::{Durability, EntryKind, LogError, Receipt};
use jiff::Timestamp;
use manifest::ObjectRef;
use plan::{Attribution, SyncRef};
use serde_json::json;

use super::{Journal, entry};

impl Journal {
    /// It is known since who changed an object.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn attributed(
        &self,
        now: Timestamp,
        sync: &SyncRef,
        object: &ObjectRef,
        by: &Attribution,
    ) -> Result<Receipt, LogError> {
        let (name, object) = (sync.to_string(), object.to_string());
        let subject =
            [("sync", name.as_str()), ("object", object.as_str()), ("origin", "drift"), ("result", "attributed")];
        let body = manifest::canonical_json(&json!({ "by": by }));
        self.append(&entry(EntryKind::Outcome, now, subject), Some(&body), None, Durability::Grouped)
    }
}
