//! How new what a server shows must be.

use std::time::Duration;

use manifest::parse_duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest age: a poll may take 20 s, and the next one comes after 5 s at the earliest.
pub const MIN_AGE: Duration = Duration::from_secs(30);
/// The longest age: what nobody looks at for a year is not watched.
pub const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How new what the server shows must be. What is older is told, and nothing else comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freshness {
    /// How long ago the server may have answered last, such as `15m`, whatever it showed; 30s to a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(s|m|h))+$"))]
    pub max_answer_age: Option<String>,
    /// How old the newest verified head may be, by its committer time; 30s to a year. For a branch that gets a commit at
    /// least as often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(s|m|h))+$"))]
    pub max_head_age: Option<String>,
    /// How old the newest signed heartbeat under `refs/writ/heartbeat` may be; 30s to a year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(s|m|h))+$"))]
    pub max_heartbeat_age: Option<String>,
}

impl Freshness {
    /// `maxAnswerAge`, if it is set and within its bounds.
    #[must_use]
    pub fn answer_age(&self) -> Option<Duration> {
        age(self.max_answer_age.as_deref())
    }

    /// `maxHeadAge`, if it is set and within its bounds.
    #[must_use]
    pub fn head_age(&self) -> Option<Duration> {
        age(self.max_head_age.as_deref())
    }

    /// `maxHeartbeatAge`, if it is set and within its bounds.
    #[must_use]
    pub fn heartbeat_age(&self) -> Option<Duration> {
        age(self.max_heartbeat_age.as_deref())
    }

    /// The fields that are wrong, and why.
    pub(crate) fn check(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fields = [
            ("freshness.maxAnswerAge", &self.max_answer_age),
            ("freshness.maxHeadAge", &self.max_head_age),
            ("freshness.maxHeartbeatAge", &self.max_heartbeat_age),
        ];
        let wrong = |(field, text): (&'static str, &Option<String>)| {
            let text = text.as_deref().filter(|text| age(Some(text)).is_none())?;
            Some((field, format!("{text:?} is no time from 30s to 8760h, such as 90s, 15m or 1h30m")))
        };
        fields.into_iter().filter_map(wrong).collect::<Vec<_>>().into_iter()
    }
}

fn age(text: Option<&str>) -> Option<Duration> {
    parse_duration(text?).filter(|age| (MIN_AGE..=MAX_AGE).contains(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_bounds() {
        let wrong = |text: &str| {
            let age = || Some(text.to_owned());
            let all = Freshness { max_answer_age: age(), max_head_age: age(), max_heartbeat_age: age() };
            all.check().map(|(field, _)| field).collect::<Vec<_>>()
        };
        for text in ["30s", "15m", "1h30m", "8760h"] {
            assert_eq!(wrong(text), [""; 0], "{text}");
        }
        let fields = ["freshness.maxAnswerAge", "freshness.maxHeadAge", "freshness.maxHeartbeatAge"];
        for text in ["29s", "8761h", "1d", "", "15", "-1h"] {
            assert_eq!(wrong(text), fields, "{text}");
        }
        assert_eq!(Freshness::default().check().count(), 0);
    }
}
