//! What the API server makes of a declaration by itself is no difference: not in the answer to the
//! create, and not in the answer to the next apply.

use cluster::{ApplyReport, Done, Outcome};
use plan::{Alone, Compared, DesiredState, Visibility, compare, declared_differences};
use serde_json::Value;
use testkit::Rights;

use crate::world::World;

/// The differences that answers show: of what is declared, and what stands beside it that is neither a default nor explained.
fn differences(desired: &DesiredState, outcomes: &[Outcome]) -> Vec<String> {
    let mut found = Vec::new();
    for outcome in outcomes {
        let Ok(Done::Created { sighting, .. } | Done::Configured { sighting }) = &outcome.result else { continue };
        let object = desired.get(&outcome.reference).unwrap();
        let live: Value = serde_json::from_slice(sighting.raw.json()).unwrap();
        let kind = &object.reference.group_kind;
        let differences = declared_differences(&object.value().unwrap(), &live, kind, Visibility::Shown);
        found.extend(differences.into_iter().map(|difference| {
            let (before, after) = (difference.before.unwrap_or_default(), difference.after.unwrap_or_default());
            format!("{} {}: {before} → {after}", outcome.reference, difference.path)
        }));
        let under = Compared { kind, visibility: Visibility::Shown, set: &Alone };
        let changes = compare(&object.value().unwrap(), Some(&live), &under).changes;
        found.extend(changes.into_iter().filter(|change| change.explained_by.is_none()).map(|change| {
            let shown = |value: Option<Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
            format!("{} {}: {} → {}", outcome.reference, change.pointer, shown(change.desired), shown(change.live))
        }));
    }
    found
}

fn failures(report: &ApplyReport) -> Vec<String> {
    report.failures.iter().map(|(_, failure)| failure.finding.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_spellings_settle() {
    let world = World::new(Rights::Cluster).await;
    let yaml = include_str!("odd_spellings.yaml").replace("SUFFIX", world.tenant.namespace());
    let (desired, report, outcomes) = world.roll_out(&yaml).await;
    assert_eq!(failures(&report), [] as [String; 0]);
    assert_eq!(outcomes.len(), desired.len());
    assert_eq!(differences(&desired, &outcomes), [] as [String; 0]);
    // As after a restart without any record: everything is applied once more, with status 200.
    for object in desired.iter() {
        world.forget(&object.reference);
        let (report, outcomes) = world.apply(world.drift(&desired, &object.reference)).await;
        assert_eq!(failures(&report), [] as [String; 0]);
        assert_eq!(differences(&desired, &outcomes), [] as [String; 0]);
    }
    // Cluster-scoped objects are not the tenant's: they go, as far as nothing holds them.
    let selector = format!("writ.dev/instance={}", world.instance.as_str());
    for kinds in ["persistentvolumes", "clusterroles,priorityclasses,storageclasses,csidrivers,runtimeclasses"] {
        world.tenant.kubectl(&["delete", kinds, "--wait=false", "-l", &selector]).unwrap();
    }
}
