//! What the status of a Sync shows of drift: numbers, and the worst of what is open.

use std::cmp::Reverse;

use cluster::crd::{DriftStatus, OpenDrift};
use plan::{DriftState, Record};

/// The most drifts that a status names: what fits on a screen; the others are counted.
const MAX_SHOWN: usize = 20;

/// What is shown of these, all of which are open; nothing if there are none.
pub(crate) fn shown(mut open: Vec<&Record>) -> Option<DriftStatus> {
    if open.is_empty() {
        return None;
    }
    let of = |state| open.iter().filter(|record| record.state == state).count() as u64;
    let (contested, paused, all) = (of(DriftState::Contested), of(DriftState::Paused), open.len() as u64);
    open.sort_by_key(|record| (Reverse(record.cause.severity), Reverse(record.first), &record.cause.id));
    let records = open.into_iter().take(MAX_SHOWN).map(one).collect();
    Some(DriftStatus { open: all, contested, paused, records })
}

fn one(record: &Record) -> OpenDrift {
    OpenDrift {
        id: record.cause.id.to_string(),
        object: record.object.clone(),
        field: record.cause.field.clone(),
        severity: record.cause.severity.name().to_owned(),
        state: record.state.name().to_owned(),
        code: record.code.clone(),
        since: record.first.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use plan::{Cause, DriftChange, DriftId, Severity};

    use super::*;

    fn record(number: usize, severity: Severity, state: DriftState) -> Record {
        Record {
            cause: Cause {
                id: DriftId::parse(&format!("{number:012x}")).unwrap(),
                field: Some("spec.replicas".to_owned()),
                before: None,
                after: None,
                class: "replicas".to_owned(),
                severity,
                change: DriftChange::Edited,
                declared_at: None,
                declared: None,
                actor: None,
                level: None,
                actor_class: None,
                gap: None,
            },
            sync: "shop/web".to_owned(),
            object: "Deployment.apps shop/web".to_owned(),
            state,
            reason: String::new(),
            code: "D101".to_owned(),
            fields: 1,
            first: Timestamp::from_second(number as i64).unwrap(),
            last: Timestamp::UNIX_EPOCH,
            count: 1,
            commit: None,
            signer: None,
            failed: None,
            acknowledged: None,
            entry: 0,
        }
    }

    #[test]
    fn twenty_are_named_the_worst_first_and_all_are_counted() {
        assert_eq!(shown(Vec::new()), None);
        let mut records: Vec<Record> = (0..40).map(|number| record(number, Severity::Low, DriftState::Open)).collect();
        records.push(record(40, Severity::Critical, DriftState::Contested));
        let status = shown(records.iter().collect()).unwrap();
        assert_eq!((status.open, status.contested, status.paused, status.records.len()), (41, 1, 0, 20));
        assert_eq!(status.records[0].severity, "critical");
        assert_eq!(status.records[1].since, "1970-01-01T00:00:39Z");
    }
}
