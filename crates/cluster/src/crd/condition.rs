//! Conditions as kstatus reads them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest message of a condition: the API server takes 32 KiB, people read less.
const MAX_CONDITION_MESSAGE: usize = 2_048;

/// One condition (metav1.Condition).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// CamelCase reason; for a refusal the reason of its code.
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// When the status changed last, RFC 3339.
    pub last_transition_time: String,
    /// The generation it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known (yet).
    Unknown,
}

/// Sets a condition among others, ordered by type. The transition time moves only with the status;
/// a message that is too long is cut.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) {
    let kept = conditions
        .iter()
        .find(|condition| condition.kind == kind && condition.status == status)
        .map(|condition| condition.last_transition_time.clone());
    conditions.retain(|condition| condition.kind != kind);
    conditions.push(Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: crate::text::shorten(message, MAX_CONDITION_MESSAGE),
        last_transition_time: kept.unwrap_or_else(|| crate::text::seconds(now)),
        observed_generation,
    });
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set_condition(&mut conditions, "Ready", ConditionStatus::True, "Applied", "", Some(1), at(0));
        set_condition(&mut conditions, "Drifted", ConditionStatus::False, "Settled", "", Some(1), at(1));
        set_condition(&mut conditions, "Ready", ConditionStatus::True, "Applied", "again", Some(2), at(60));
        assert_eq!(conditions.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["Drifted", "Ready"]);
        assert_eq!(conditions[1].last_transition_time, "1970-01-01T00:00:00Z");
        set_condition(&mut conditions, "Ready", ConditionStatus::False, "Held", &"é".repeat(5000), Some(2), at(90));
        assert_eq!(conditions[1].last_transition_time, "1970-01-01T00:01:30Z");
        assert!(conditions[1].message.len() <= MAX_CONDITION_MESSAGE);
    }
}
