//! What holds for every question.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use manifest::ObjectRef;
use plan::{Action, Decision, Lifecycle, Live, PlanOrigin, PruneTrailer, Question, SyncRef, lint};
use proptest::prelude::*;
use support::{Case, drift, field, lines, presence, rendered, state};
use trust::TrustMode;

/// What somebody must not see.
const CANARY: &str = "canary-7f3a91";

/// What is known of an object: nothing, gone, as applied, edited, terminating, applied by nobody we know.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Unobserved,
    Unserved,
    Absent,
    AsApplied,
    Edited,
    Terminating,
    Unknown,
}

fn seen() -> impl Strategy<Value = Seen> {
    prop::sample::select(vec![
        Seen::Unobserved,
        Seen::Unserved,
        Seen::Absent,
        Seen::AsApplied,
        Seen::AsApplied,
        Seen::Edited,
        Seen::Terminating,
        Seen::Unknown,
    ])
}

/// The value of an object that says `writ.dev/prune: never`.
const KEPT: u8 = 2;

/// Secrets whose name says what they hold.
fn secrets(values: &BTreeMap<u8, u8>) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let (kind, field) = if name % 2 == 0 { ("Secret", "stringData") } else { ("ConfigMap", "data") };
        let shown = if name % 2 == 0 { format!("{CANARY}-{value}") } else { value.to_string() };
        let kept = if *value == KEPT { ", annotations: {writ.dev/prune: never}" } else { "" };
        write!(
            text,
            "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: o{name}{kept}}}\n{field}: {{k: \"{shown}\"}}\n"
        )
        .unwrap();
    }
    text
}

fn declaration() -> impl Strategy<Value = BTreeMap<u8, u8>> {
    prop::collection::btree_map(0_u8..12, 0_u8..3, 0..10)
}

/// A question of two revisions, one that was not completed, and a cluster in any state.
#[derive(Debug, Clone)]
struct Situation {
    before: BTreeMap<u8, u8>,
    partial: BTreeMap<u8, u8>,
    after: BTreeMap<u8, u8>,
    seen: Vec<Seen>,
    foreign: Vec<bool>,
    mode: &'static str,
    trailer: Option<u64>,
}

fn situation() -> impl Strategy<Value = Situation> {
    (
        declaration(),
        declaration(),
        declaration(),
        prop::collection::vec(seen(), 12),
        prop::collection::vec(prop::bool::weighted(0.03), 12),
        prop::sample::select(vec!["Revert", "Flag", "Off"]),
        prop::option::of(0_u64..12),
    )
        .prop_map(|(before, partial, after, seen, foreign, mode, trailer)| Situation {
            before,
            partial,
            after,
            seen,
            foreign,
            mode,
            trailer,
        })
}

fn number(reference: &ObjectRef) -> u8 {
    reference.name.trim_start_matches('o').parse().unwrap()
}

fn other() -> SyncRef {
    SyncRef { namespace: "shop".into(), name: "base".into() }
}

impl Situation {
    fn case(&self) -> (Case, plan::DesiredState, plan::DesiredState) {
        let (before, after) = (state(0, &secrets(&self.before)), state(1, &secrets(&self.after)));
        let mut case = Case::new(self.mode);
        case.trailer = self.trailer;
        let partial = state(1, &secrets(&self.partial));
        for object in partial.iter().chain(after.iter()).chain(before.iter()) {
            let number = usize::from(number(&object.reference));
            let as_applied = presence(Some(object.digest));
            let live = match self.seen[number] {
                Seen::Unobserved => Live::Unobserved,
                Seen::Unserved => Live::Unserved,
                Seen::Absent => Live::Absent,
                Seen::AsApplied => Live::Present(as_applied),
                Seen::Edited => {
                    let drift = drift([field("data.k", "***", Some("***"))]);
                    Live::Present(plan::Presence { drift, ..as_applied })
                }
                Seen::Terminating => Live::Present(plan::Presence { lifecycle: Lifecycle::Terminating, ..as_applied }),
                Seen::Unknown => Live::Present(presence(None)),
            };
            case.cluster.objects.insert(object.reference.clone(), live);
            if self.foreign[number] {
                case.cluster.owners.insert(object.reference.clone(), other());
            }
        }
        case.partial = vec![Arc::new(partial)];
        (case, before, after)
    }

    /// How many objects go that these revisions declare, oldest first, and `kept` does not.
    fn leaving(&self, chain: [&BTreeMap<u8, u8>; 2], kept: &BTreeMap<u8, u8>) -> BTreeSet<u8> {
        let newest: BTreeMap<u8, u8> = chain.into_iter().flatten().map(|(name, value)| (*name, *value)).collect();
        let goes =
            |name: &u8, value: u8| !kept.contains_key(name) && value != KEPT && !self.foreign[usize::from(*name)];
        newest.into_iter().filter(|(name, value)| goes(name, *value)).map(|(name, _)| name).collect()
    }

    fn removal(&self, case: &Case, applied: &plan::DesiredState, said: Option<u64>) -> Decision {
        case.ask(Question::Removal { applied, partial: &case.partial, trailer: PruneTrailer(said) })
    }

    /// The answers to all questions.
    fn answers(&self) -> Vec<(Case, Decision)> {
        self.answers_in(TrustMode::Enforce)
    }

    fn answers_in(&self, mode: TrustMode) -> Vec<(Case, Decision)> {
        let (case, before, after) = self.case();
        let case = Case { mode, ..case };
        let decisions = [
            case.advance(&after, Some(&before)),
            case.roll_back(&after, Some(&before)),
            case.drift(&before),
            self.removal(&case, &before, self.trailer),
        ];
        decisions.into_iter().map(|decision| (self.case().0, decision)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_plan_passes_the_linter_and_keeps_to_its_own_objects(situation in situation()) {
        for (case, decision) in situation.answers() {
            match decision {
                Decision::Apply(plan) | Decision::Revert(plan) => {
                    prop_assert_eq!(lint(&plan), Vec::<String>::new());
                    for change in plan.changes() {
                        prop_assert!(!case.cluster.owners.contains_key(&change.reference), "{change:?}");
                        let terminating = matches!(
                            case.cluster.objects.get(&change.reference),
                            Some(Live::Present(presence)) if presence.lifecycle == Lifecycle::Terminating
                        );
                        prop_assert!(!terminating, "{change:?}");
                        let never_ours = matches!(case.cluster.objects.get(&change.reference), Some(Live::Unobserved | Live::Unserved))
                            && matches!(change.action, Action::Prune { .. } | Action::Revert);
                        prop_assert!(!never_ours, "{change:?}");
                    }
                }
                Decision::Refuse(refusal) => prop_assert!(!refusal.findings.is_empty()),
                Decision::Report(_) => prop_assert!(false, "in mode Enforce"),
                Decision::Flag(reports, _) => prop_assert!(!reports.is_empty()),
                Decision::Wait(waiting) => prop_assert!(!waiting.is_empty()),
                Decision::Settled => {}
            }
        }
    }

    /// In mode Audit nothing that can be applied comes out; what is refused and what drifted is said as otherwise, and what would
    /// be applied is counted as it would be.
    #[test]
    fn in_mode_audit_there_is_no_plan(situation in situation()) {
        let audited = situation.answers_in(TrustMode::Audit);
        for ((case, enforced), (_, audited)) in situation.answers().into_iter().zip(audited) {
            match (&enforced, &audited) {
                (Decision::Apply(plan), Decision::Report(proposal)) => {
                    prop_assert_eq!(proposal.counts, plan.counts());
                    prop_assert_eq!((proposal.origin, proposal.revision), (plan.origin(), plan.revision()));
                }
                (Decision::Revert(plan), Decision::Flag(reports, waiting)) => {
                    prop_assert_eq!(reports.as_slice(), plan.reports());
                    prop_assert_eq!(waiting.as_slice(), plan.waiting());
                }
                // What no roll-out has brought yet has not drifted.
                (Decision::Revert(plan), Decision::Settled | Decision::Wait(_)) => {
                    prop_assert!(plan.reports().is_empty());
                }
                (Decision::Refuse(refusal), Decision::Flag(..) | Decision::Settled | Decision::Wait(_)) => {
                    prop_assert!(case.spec.service_account_name.is_none(), "{refusal:?}");
                }
                (_, Decision::Apply(_) | Decision::Revert(_)) => prop_assert!(false, "{audited:?}"),
                _ => prop_assert_eq!(lines(&enforced), lines(&audited)),
            }
        }
    }

    #[test]
    fn equal_inputs_give_equal_answers(situation in situation()) {
        for ((_, one), (_, two)) in situation.answers().into_iter().zip(situation.answers()) {
            prop_assert_eq!(lines(&one), lines(&two));
            if let (Decision::Apply(one) | Decision::Revert(one), Decision::Apply(two) | Decision::Revert(two)) = (one, two) {
                prop_assert_eq!(one.digest(), two.digest());
            }
        }
    }

    /// Also if an older one let it go.
    #[test]
    fn what_the_newest_declaration_keeps_is_never_deleted(situation in situation()) {
        let Situation { before, partial, after, .. } = &situation;
        let (mut case, applied, candidate) = situation.case();
        let dropped = situation.leaving([before, partial], after);
        case.trailer = Some(dropped.len() as u64);
        let removed = situation.leaving([partial, before], &BTreeMap::new());
        let answers = [
            (case.advance(&candidate, Some(&applied)), dropped),
            (situation.removal(&case, &applied, Some(removed.len() as u64)), removed),
        ];
        for (decision, leaving) in answers {
            let Decision::Apply(plan) = decision else {
                // The number is right: only an object of another Sync refuses it.
                prop_assert!(candidate.iter().any(|object| case.cluster.owners.contains_key(&object.reference)));
                continue;
            };
            for change in plan.changes().iter().filter(|change| matches!(change.action, Action::Prune { .. })) {
                prop_assert!(leaving.contains(&number(&change.reference)), "{change:?}");
            }
        }
    }

    /// In mode Revert: no request exactly if everything declared is as applied, and nothing is left to prune.
    #[test]
    fn no_change_means_as_declared(situation in situation()) {
        let situation = Situation { mode: "Revert", ..situation };
        let (mut case, before, after) = situation.case();
        let leaving = situation.leaving([&situation.before, &situation.partial], &situation.after);
        case.trailer = Some(leaving.len() as u64);
        let Decision::Apply(plan) = case.advance(&after, Some(&before)) else { return Ok(()) };
        let settled = after.iter().all(|object| match &case.cluster.objects[&object.reference] {
            Live::Present(presence) => {
                presence.lifecycle == Lifecycle::Terminating
                    || presence.applied == Some(object.digest) && presence.drift.is_empty()
            }
            Live::Absent | Live::Unobserved | Live::Unserved => false,
        });
        let to_prune = case.cluster.objects.iter().filter(|(reference, _)| leaving.contains(&number(reference))).any(
            |(_, live)| matches!(live, Live::Present(presence) if presence.lifecycle == Lifecycle::Stable),
        );
        prop_assert_eq!(plan.changes().is_empty(), settled && !to_prune);
        prop_assert_eq!(plan.origin(), PlanOrigin::Advance);
    }

    #[test]
    fn no_secret_is_ever_printed(situation in situation()) {
        let (case, before, after) = situation.case();
        let mut text = format!("{before:?} {after:?}");
        for (_, decision) in situation.answers() {
            write!(text, "{decision:?} {decision:#?} {:?}", lines(&decision)).unwrap();
            if let Decision::Refuse(refusal) = &decision {
                refusal.findings.iter().for_each(|finding| write!(text, "{finding}").unwrap());
            }
        }
        for object in after.iter() {
            let live = serde_json::json!({"data": {"k": "bm90aGluZw=="}});
            let kind = &object.reference.group_kind;
            let visibility = if object.sensitive { plan::Visibility::Masked } else { plan::Visibility::Shown };
            let value = object.value().unwrap();
            write!(text, "{:?}", plan::declared_differences(&value, &live, kind, visibility)).unwrap();
            write!(text, "{:?}", plan::differences(&value, &live, kind, visibility)).unwrap();
        }
        drop(case);
        prop_assert!(!text.contains(CANARY), "{text}");
        prop_assert!(!text.contains("Y2FuYXJ5LT"), "{text}"); // the same in base64
    }
}

#[test]
fn the_canary_is_in_the_bodies_or_the_property_shows_nothing() {
    let set = state(0, &secrets(&[(0, 1)].into()));
    let body = String::from_utf8(set.iter().next().unwrap().body.to_vec()).unwrap();
    assert!(body.contains("Y2FuYXJ5LT"), "{body}");
    let text =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, annotations: {{writ.dev/adopt: {CANARY}}}}}\n");
    let object = plan::DesiredObject::new(
        rendered(&text).iter().next().unwrap(),
        &support::instance(),
        &plan::ApplySetId::of(&support::sync()),
        &support::digest_key(),
    );
    assert!(!format!("{object:?}").contains(CANARY));
}
