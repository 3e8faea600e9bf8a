//! By which tag a revision was released, where the tracked ref is one.

use std::fmt;

use trust::{TagId, TagVerdict};

/// The tag by which a revision was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Released {
    /// What it is called.
    pub name: String,
    /// Its id.
    pub id: TagId,
    /// Who signed it, and with which key.
    pub by: String,
}

impl Released {
    /// That of a judgement; none if nobody is known to have signed it.
    pub(crate) fn by(tag: &TagVerdict) -> Option<Self> {
        let by = tag.signer.as_ref().map(|signer| format!("{} ({})", signer.principal, signer.key))?;
        Some(Self { name: tag.name.clone(), id: tag.id, by })
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tag {} by {}", self.name, self.by)
    }
}
