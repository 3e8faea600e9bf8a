//! One drift, over all the times that it was seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Cause;

/// What became of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftState {
    /// It is there, and left alone or not yet put back.
    Open,
    /// It is there again after each revert, or rewritten in the answer to one.
    Contested,
    /// It is left alone because somebody asked for that, for a time.
    Paused,
    /// It was put back.
    Reverted,
    /// A revision that was accepted since says what is live, or no longer declares the object.
    Accepted,
    /// A rule says that it is not looked at.
    Ignored,
    /// Nobody looks any more: the Sync is gone.
    Expired,
}

impl DriftState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Open, Self::Contested, Self::Paused, Self::Reverted, Self::Accepted, Self::Ignored, Self::Expired];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Contested => "contested",
            Self::Paused => "paused",
            Self::Reverted => "reverted",
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Expired => "expired",
        }
    }

    /// Whether the cluster still differs.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Contested | Self::Paused)
    }
}

/// One drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What drifted, as it was seen last.
    #[serde(flatten)]
    pub cause: Cause,
    /// `namespace/name` of the Sync that declares the object.
    pub sync: String,
    /// The object, such as `Deployment.apps shop/web`.
    pub object: String,
    /// What became of it.
    pub state: DriftState,
    /// Why it is in that state.
    pub reason: String,
    /// The code that it was seen with last.
    pub code: String,
    /// How many fields of the object differed when it was seen last.
    pub fields: u64,
    /// When it was seen first.
    pub first: Timestamp,
    /// When it was seen last.
    pub last: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// The commit that says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who signed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Code of why it could not be put back, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
    /// Index of the entry that it was seen by last.
    pub entry: u64,
}
