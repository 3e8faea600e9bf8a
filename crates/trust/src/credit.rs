//! Whose word counts for a change.

use std::collections::BTreeSet;

/// The principals that stand for a change: who signed it, and who vouches for it besides. Principals are counted, never
/// keys: whoever has two keys is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credit {
    principals: BTreeSet<String>,
    author: Option<String>,
}

impl Credit {
    /// The credit of who signed the commit alone.
    #[must_use]
    pub fn of_author(principal: &str) -> Self {
        Self { principals: BTreeSet::from([principal.to_owned()]), author: Some(principal.to_owned()) }
    }

    /// The credit of these for what `author` made, who is credited only if among them.
    #[must_use]
    pub fn by(author: Option<&str>, principals: impl IntoIterator<Item = String>) -> Self {
        Self { principals: principals.into_iter().collect(), author: author.map(str::to_owned) }
    }

    /// With others, who vouch for the same change.
    #[must_use]
    pub fn with<'a>(&self, others: impl IntoIterator<Item = &'a String>) -> Self {
        let mut credit = self.clone();
        credit.principals.extend(others.into_iter().cloned());
        credit
    }

    /// With who made the change that a merge takes over as it is, and is its author in the place of who merged it.
    #[must_use]
    pub fn made_by(&self, maker: Option<&str>) -> Self {
        let mut credit = self.clone();
        if let Some(maker) = maker {
            credit.principals.insert(maker.to_owned());
            credit.author = Some(maker.to_owned());
        }
        credit
    }

    /// Who made the change, if that is known.
    #[must_use]
    pub fn author(&self) -> Option<&str> {
        self.author.as_deref()
    }

    /// Whether this principal stands for the change; with `distinct`, as somebody else than its author.
    #[must_use]
    pub fn counts(&self, principal: &str, distinct: bool) -> bool {
        self.principals.contains(principal) && !(distinct && self.author.as_deref() == Some(principal))
    }

    /// Who stands for it.
    #[must_use]
    pub const fn principals(&self) -> &BTreeSet<String> {
        &self.principals
    }
}
