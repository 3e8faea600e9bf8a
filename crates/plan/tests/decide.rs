//! What is decided on push, drift, removal and rollback.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;

use manifest::{Digest, Finding, Subject};
use plan::{
    Absence, Decision, DesiredState, DesiredStateError, DriftReport, DriftSeen, FieldClass, FieldDiff, Lifecycle, Live,
    PlanOrigin, PruneTrailer, Question, SyncRef,
};
use support::{
    Case, commits, config, configs, drift, field, lines, plan_of, presence, rendered, shared, state, sync, try_state,
};
use trust::TrustMode;

#[track_caller]
fn check(decision: &Decision, expected: &[&str]) {
    assert_eq!(lines(decision), expected);
}

fn other() -> SyncRef {
    SyncRef { namespace: "shop".into(), name: "base".into() }
}

// -- first roll-out, change, no change --------------------------------------------------------------

#[test]
fn the_first_roll_out_creates_everything_and_takes_nothing_from_others() {
    let adopt = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {writ.dev/adopt: force}}\n";
    let candidate = state(0, &(config("a", "1") + adopt));
    let expected = [
        "apply: 2 created",
        "configuration created ConfigMap shop/a unforced",
        "configuration created ConfigMap shop/b forced",
    ];
    check(&Case::new("Revert").advance(&candidate, None), &expected);
    let mut unobserved = Case::new("Revert");
    unobserved.cluster.otherwise = Live::Unobserved;
    check(&unobserved.advance(&candidate, None), &expected);
    // An object of that name which we never applied is no more ours than one that we do not see.
    let foreign = Case::new("Off").with(&candidate).edit("ConfigMap shop/a", |live| live.applied = None);
    check(
        &foreign.advance(&candidate, None),
        &["apply: 1 created, 1 unchanged", "configuration created ConfigMap shop/a unforced"],
    );
}

#[test]
fn an_unchanged_set_is_no_change_and_advances_all_the_same() {
    let (before, after) = (state(0, &configs(0..3)), state(1, &configs(0..3)));
    for mode in ["Revert", "Flag", "Off"] {
        let decision = Case::new(mode).with(&before).advance(&after, Some(&before));
        check(&decision, &["apply: 3 unchanged"]);
        assert_eq!(plan_of(decision).revision(), commits()[1].id());
    }
}

#[test]
fn a_changed_declaration_is_shown_field_by_field() {
    let (before, after) = (state(0, &config("a", "1")), state(1, &config("a", "2")));
    check(
        &Case::new("Off").with(&before).advance(&after, Some(&before)),
        &["apply: 1 configured", "configuration configured ConfigMap shop/a", r#"  data.k: "1" → "2""#],
    );
}

#[test]
fn values_of_a_secret_are_masked() {
    let secret = |value| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {value}}}\n");
    let (before, after) = (state(0, &secret("canary-one")), state(1, &secret("canary-two")));
    check(
        &Case::new("Off").with(&before).advance(&after, Some(&before)),
        &["apply: 1 configured", "configuration configured Secret shop/s", "  data.k: *** → ***"],
    );
}

#[test]
fn a_retried_roll_out_sends_only_what_is_missing() {
    let candidate = state(0, &configs(0..3));
    let half = Case::new("Flag").with(&candidate).set("ConfigMap shop/c001", Live::Absent);
    check(
        &half.advance(&candidate, None),
        &["apply: 1 created, 2 unchanged", "configuration created ConfigMap shop/c001 unforced"],
    );
}

#[test]
fn waves_are_in_order_and_deletions_last_and_reversed() {
    let manifest = |group: &str, kind: &str, name: &str| {
        format!("---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}}}\n")
    };
    let crd = "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
               metadata: {name: carts.shop.example}\nspec: {group: shop.example, scope: Namespaced, \
               names: {kind: Cart, plural: carts}, versions: []}\n";
    let all = |suffix: &str, crd: &str| {
        manifest("shop.example/v1", "Cart", &format!("a{suffix}"))
            + &manifest("apps/v1", "Deployment", &format!("d{suffix}"))
            + &config(&format!("c{suffix}"), "1")
            + crd
            + &manifest("v1", "Namespace", &format!("n{suffix}"))
    };
    let (before, after) = (state(0, &all("1", "")), state(1, &all("2", crd)));
    let mut case = Case::new("Revert").with(&before);
    case.trailer = Some(4);
    check(
        &case.advance(&after, Some(&before)),
        &[
            "apply: 5 created, 4 pruned",
            "definitions created Namespace n2 unforced",
            "definitions created CustomResourceDefinition.apiextensions.k8s.io carts.shop.example unforced",
            "configuration created ConfigMap shop/c2 unforced",
            "workloads created Deployment.apps shop/d2 unforced",
            "workloads created Cart.shop.example shop/a2 unforced",
            "delete-workloads pruned Deployment.apps shop/d1 u1@7",
            "delete-workloads pruned Cart.shop.example shop/a1 u1@7",
            "delete-configuration pruned ConfigMap shop/c1 u1@7",
            "delete-definitions pruned Namespace n1 u1@7",
        ],
    );
}

// -- drift met by an advance --------------------------------------------------------------------------

#[test]
fn an_advance_heals_what_it_does_not_touch_only_in_mode_revert() {
    let (before, after) = (state(0, &configs(0..3)), state(1, &configs(0..3)));
    let drifted = |mode| {
        Case::new(mode)
            .with(&before)
            .edit("ConfigMap shop/c000", |live| live.drift = drift([field("data.k", "\"1\"", Some("\"9\""))]))
            .set("ConfigMap shop/c001", Live::Absent)
            .advance(&after, Some(&before))
    };
    for mode in ["Flag", "Off"] {
        check(&drifted(mode), &["apply: 3 unchanged"]);
    }
    check(
        &drifted("Revert"),
        &[
            "apply: 2 configured, 1 unchanged",
            "configuration configured ConfigMap shop/c000",
            r#"  data.k: "1" → "9""#,
            "configuration configured ConfigMap shop/c001",
            r#"D101 ConfigMap shop/c000 data.k: it is "9""#,
            "D102 ConfigMap shop/c001: it is gone",
        ],
    );
}

#[test]
fn an_advance_that_touches_a_drifted_object_applies_it_in_every_mode() {
    let (before, after) = (state(0, &config("a", "1")), state(1, &config("a", "2")));
    for mode in ["Revert", "Flag", "Off"] {
        let edited = Case::new(mode)
            .with(&before)
            .edit("ConfigMap shop/a", |live| live.drift = drift([field("data.k", "\"1\"", Some("\"9\""))]));
        let expected = ["apply: 1 configured", "configuration configured ConfigMap shop/a", r#"  data.k: "1" → "2""#];
        check(&edited.advance(&after, Some(&before)), &expected);
        let gone = edited.set("ConfigMap shop/a", Live::Absent);
        check(&gone.advance(&after, Some(&before)), &expected);
    }
}

#[test]
fn nothing_is_written_to_what_is_terminating() {
    let (before, after) = (state(0, &configs(0..2)), state(1, &config("c000", "2")));
    let case = Case::new("Revert")
        .with(&before)
        .edit("ConfigMap shop/c000", |live| live.lifecycle = Lifecycle::Terminating)
        .edit("ConfigMap shop/c001", |live| live.lifecycle = Lifecycle::Terminating);
    check(&case.advance(&after, Some(&before)), &["apply: 2 waiting"]);
    let waits =
        |name: &str| format!("A126 ConfigMap shop/{name}: it is being deleted; needed: the end of the deletion");
    check(&case.drift(&before), &["wait", &waits("c000"), &waits("c001")]);
    // What is seen of others does not hide what waits.
    let edit = drift([field("data.k", "1", Some("2"))]);
    let case = case.edit("ConfigMap shop/c001", |live| (live.lifecycle, live.drift) = (Lifecycle::Stable, edit));
    let plan = plan_of(case.drift(&before));
    assert_eq!((plan.changes().len(), plan.waiting().len()), (1, 1));
    let spec = Case::new("Flag").spec;
    check(
        &Case { spec, ..case }.drift(&before),
        &["flag", r#"D101 ConfigMap shop/c001 data.k: it is 2; needed: 1"#, &waits("c000")],
    );
}

/// It is not put back, and not hidden either.
#[test]
fn an_edit_of_what_is_terminating_is_told() {
    let accepted = state(0, &config("a", "1"));
    for mode in ["Revert", "Flag"] {
        let edited = Case::new(mode).with(&accepted).edit("ConfigMap shop/a", |live| {
            (live.lifecycle, live.drift) = (Lifecycle::Terminating, drift([field("data.k", "\"1\"", Some("\"9\""))]));
        });
        let told = |case: &Case, applied| {
            let Decision::Wait(waiting) = case.drift_since(&accepted, applied) else { unreachable!() };
            assert_eq!(waiting[0].finding.code.code, "A126");
            waiting[0].drift.as_ref().map(|report| (report.finding.to_string(), report.differences.len()))
        };
        let (text, differences) = told(&edited, Some(&accepted)).unwrap();
        assert!(text.starts_with(r#"D101 Edited: ConfigMap shop/a data.k: it is "9"; needed: "1""#), "{text}");
        assert_eq!(differences, 1);
        let as_declared = edited.edit("ConfigMap shop/a", |live| live.drift = &[]);
        assert_eq!(told(&as_declared, Some(&accepted)), None);
        let foreign = as_declared.edit("ConfigMap shop/a", |live| {
            (live.applied, live.drift) = (None, drift([field("data.k", "\"1\"", Some("\"9\""))]));
        });
        assert_eq!(told(&foreign, None), None);
    }
}

#[test]
fn nothing_is_created_in_a_terminating_namespace() {
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
    let state = state(0, &(namespace + &config("a", "1")));
    let case = Case::new("Revert")
        .with(&state)
        .edit("Namespace shop", |live| live.lifecycle = Lifecycle::Terminating)
        .set("ConfigMap shop/a", Live::Absent);
    check(
        &case.drift(&state),
        &[
            "wait",
            "A126 ConfigMap shop/a: its Namespace shop is being deleted; needed: the end of the deletion",
            "A126 Namespace shop: it is being deleted; needed: the end of the deletion",
        ],
    );
    check(&case.advance(&state, None), &["apply: 2 waiting"]);
}

// -- rollback -------------------------------------------------------------------------------------------

#[test]
fn a_rollback_is_a_roll_out_of_an_earlier_revision() {
    let (before, after) =
        (state(0, &(config("a", "1") + &config("b", "1"))), state(1, &(config("a", "2") + &config("c", "1"))));
    let case = || Case::new("Revert").with(&after);
    let decision = case().roll_back(&before, Some(&after));
    check(
        &decision,
        &[
            "apply: 1 created, 1 configured, 1 pruned",
            "configuration configured ConfigMap shop/a",
            r#"  data.k: "2" → "1""#,
            "configuration created ConfigMap shop/b unforced",
            "delete-configuration pruned ConfigMap shop/c u1@7",
        ],
    );
    let plan = plan_of(decision);
    assert_eq!((plan.revision(), plan.origin()), (commits()[0].id(), PlanOrigin::Rollback));
    // The same as an advance is another plan: a receipt of one is none of the other.
    assert_ne!(plan.digest(), plan_of(case().advance(&before, Some(&after))).digest());
}

#[test]
fn no_commit_speaks_of_pruning_in_a_rollback() {
    let (before, after) = (state(0, &configs(0..2)), state(1, &configs(0..50)));
    let mut case = Case::new("Revert").with(&after);
    case.trailer = Some(48);
    let refused = lines(&case.roll_back(&before, Some(&after)));
    assert_eq!(refused[0], "refuse");
    assert!(refused[1].starts_with("A120 Sync shop/web: the rollback prunes 48 of 50 objects"), "{refused:?}");
    assert!(
        refused[1].ends_with("needed: a signed commit that restores the folder, with the trailer `Writ-Prune: 48`"),
        "{refused:?}"
    );
}

#[test]
fn what_policies_find_refuses_a_rollback() {
    let (before, after) = (state(0, &config("a", "1")), state(1, &config("a", "2")));
    let mut case = Case::new("Revert").with(&after);
    case.spec.service_account_name = None;
    let refused = lines(&case.roll_back(&before, Some(&after)));
    assert!(refused[1].starts_with("A123"), "{refused:?}");
}

// -- prune ----------------------------------------------------------------------------------------------

/// What becomes of a commit that leaves `kept` of `total` objects.
fn pruned(total: u32, kept: u32, trailer: Option<u64>) -> Decision {
    let (before, after) = (state(0, &configs(0..total)), state(1, &configs(0..kept)));
    let mut case = Case::new("Revert").with(&before);
    case.trailer = trailer;
    case.advance(&after, Some(&before))
}

#[test]
fn a_few_objects_are_pruned_with_preconditions() {
    check(
        &pruned(3, 2, None),
        &["apply: 1 pruned, 2 unchanged", "delete-configuration pruned ConfigMap shop/c002 u1@7"],
    );
    assert_eq!(lines(&pruned(20, 10, None))[0], "apply: 10 pruned, 10 unchanged");
    assert_eq!(lines(&pruned(50, 35, None))[0], "apply: 15 pruned, 35 unchanged");
}

#[test]
fn more_than_the_guard_allows_needs_the_exact_count() {
    let refused = |found: &str, count: u32| {
        vec![
            "refuse".to_owned(),
            format!("A120 Sync shop/web: {found}; needed: the trailer `Writ-Prune: {count}` in the commit message"),
        ]
    };
    let many = "the commit prunes 16 of 50 objects; 15 are allowed (pruneLimit 30 %)";
    assert_eq!(lines(&pruned(50, 34, None)), refused(many, 16));
    for wrong in [0, 15, 17] {
        assert_eq!(lines(&pruned(50, 34, Some(wrong))), refused(&format!("{many}; its trailer says {wrong}"), 16));
    }
    assert_eq!(lines(&pruned(50, 34, Some(16)))[0], "apply: 16 pruned, 34 unchanged");
    assert_eq!(lines(&pruned(2, 0, None)), refused("the commit prunes all 2 objects", 2));
    assert_eq!(lines(&pruned(2, 0, Some(2)))[0], "apply: 2 pruned");
}

#[test]
fn kinds_that_hold_data_need_the_count_even_for_one() {
    let manifests = [
        ("v1", "Namespace"),
        ("v1", "PersistentVolume"),
        ("v1", "PersistentVolumeClaim"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ];
    for (version, kind) in manifests {
        let spec = if kind.starts_with("Custom") {
            "spec: {group: shop.example, scope: Namespaced, names: {kind: Cart, plural: carts}, versions: []}\n"
        } else {
            ""
        };
        let name = if spec.is_empty() { "carts" } else { "carts.shop.example" };
        let one = format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\n{spec}");
        let (before, after) = (state(0, &(configs(0..20) + &one)), state(1, &configs(0..20)));
        let mut case = Case::new("Revert").with(&before);
        let refusal = lines(&case.advance(&after, Some(&before)));
        assert!(
            refusal[1].contains(&format!("the commit prunes {kind}")) && refusal[1].contains("(1 of 21"),
            "{refusal:?}"
        );
        case.trailer = Some(1);
        assert_eq!(lines(&case.advance(&after, Some(&before)))[0], "apply: 1 pruned, 20 unchanged");
    }
}

#[test]
fn what_an_unfinished_revision_brought_goes_as_well() {
    let (first, second, third) = (state(0, &configs(0..1)), state(1, &configs(0..3)), state(1, &configs(0..2)));
    let mut case = Case::new("Revert").with(&second);
    check(&case.advance(&third, Some(&first)), &["apply: 2 unchanged"]);
    case.partial = vec![Arc::new(second)];
    assert_eq!(lines(&case.advance(&third, Some(&first)))[0], "apply: 1 pruned, 2 unchanged");
}

#[test]
fn what_must_stay_stays() {
    let never = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {writ.dev/prune: never}}\n";
    let before = state(0, &(config("a", "1") + never));
    check(
        &Case::new("Revert").with(&before).advance(&state(1, &config("a", "1")), Some(&before)),
        &["apply: 1 unchanged"],
    );
    let mut off = Case::new("Revert").with(&before);
    off.spec.prune = false;
    check(&off.advance(&state(1, ""), Some(&before)), &["apply: "]);
}

#[test]
fn what_cannot_be_guarded_is_not_pruned() {
    let (before, after) = (state(0, &configs(0..5)), state(1, &configs(0..1)));
    let mut case = Case::new("Revert")
        .with(&before)
        .set("ConfigMap shop/c001", Live::Unobserved)
        .set("ConfigMap shop/c002", Live::Absent)
        .edit("ConfigMap shop/c003", |live| live.lifecycle = Lifecycle::Terminating);
    let taken = before.iter().find(|object| object.reference.name == "c004").unwrap();
    case.cluster.owners.insert(taken.reference.clone(), other());
    check(&case.advance(&after, Some(&before)), &["apply: 1 unchanged, 2 waiting"]);
}

/// A revert that is under way would create again what was just deleted.
#[test]
fn what_is_being_written_is_not_pruned_yet() {
    let (before, after) = (state(0, &configs(0..3)), state(1, &configs(0..1)));
    let mut case = Case::new("Revert").with(&before).set("ConfigMap shop/c002", Live::Absent);
    case.cluster.written = before.iter().skip(1).map(|object| object.reference.clone()).collect();
    let decision = case.advance(&after, Some(&before));
    check(&decision, &["apply: 1 unchanged, 2 waiting"]);
    assert!(plan_of(decision).waiting().iter().all(|waiting| waiting.finding.found == "a write to it is under way"));
    case.cluster.written.clear();
    check(
        &case.advance(&after, Some(&before)),
        &["apply: 1 pruned, 1 unchanged", "delete-configuration pruned ConfigMap shop/c001 u1@7"],
    );
}

// -- refusals -------------------------------------------------------------------------------------------

#[test]
fn every_reason_is_named_at_once() {
    let trust_root = "---\napiVersion: writ.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: prod}\n";
    let before = state(0, &configs(10..60));
    let candidate = state(1, &(config("a", "1") + trust_root));
    let mut case = Case::new("Revert").with(&before);
    case.spec.service_account_name = None;
    let mine = candidate.iter().find(|object| object.reference.name == "a").unwrap();
    case.cluster.owners.insert(mine.reference.clone(), other());
    case.findings.push(Finding {
        code: plan::PlanCode::A124.entry(),
        subject: Subject::Named("policy".into()),
        rule: None,
        found: "x".into(),
        needed: "y".into(),
        fix: "z".into(),
    });
    let decision = case.advance(&candidate, Some(&before));
    check(
        &decision,
        &[
            "refuse",
            "A124 policy: x; needed: y",
            "A123 Sync shop/web: spec.serviceAccountName is not set; needed: a ServiceAccount of namespace shop",
            "A121 ConfigMap shop/a: declared by apps/web.yaml, but owned by Sync shop/base; needed: one owner for each object",
            "A122 TrustRoot.writ.dev prod: apps/web.yaml declares a TrustRoot; needed: TrustRoots are written by platform admins, never applied from Git",
            "A120 Sync shop/web: the commit prunes all 50 objects; needed: the trailer `Writ-Prune: 50` in the commit message",
        ],
    );
    let Decision::Refuse(refusal) = decision else { unreachable!() };
    assert_eq!(refusal.revision, commits()[1].id());
    assert!(refusal.findings.iter().all(|finding| !finding.fix.is_empty()));
}

#[test]
fn writs_own_namespace_needs_no_service_account() {
    let own = SyncRef { namespace: "writ-system".into(), name: "web".into() };
    let candidate = try_state(0, own.clone(), &config("a", "1")).unwrap();
    let mut case = Case::new("Revert");
    case.spec.service_account_name = None;
    case.sync = own;
    assert_eq!(lines(&case.advance(&candidate, None))[0], "apply: 1 created");
}

#[test]
fn without_a_service_account_nothing_is_healed_or_removed() {
    let accepted = state(0, &config("a", "1"));
    let mut case = Case::new("Revert").with(&accepted).set("ConfigMap shop/a", Live::Absent);
    case.spec.service_account_name = None;
    assert!(lines(&case.drift(&accepted))[1].starts_with("A123 "));
    assert!(
        lines(&case.ask(Question::Removal { applied: &accepted, partial: &[], trailer: PruneTrailer(None) }))[1]
            .starts_with("A123 ")
    );
}

#[test]
fn annotations_of_writ_are_known_or_refused() {
    for annotation in ["writ.dev/adopt: yes-please", "writ.dev/prune: no-way", "writ.dev/prun: never"] {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, annotations: {{{annotation}}}}}\n");
        let Err(DesiredStateError::Annotations(findings)) = try_state(0, sync(), &text) else { panic!("{annotation}") };
        assert_eq!(findings.iter().map(|finding| finding.code.code).collect::<Vec<_>>(), ["A124"]);
    }
}

// -- drift ----------------------------------------------------------------------------------------------

#[test]
fn drift_is_reverted_flagged_or_left_by_mode() {
    let accepted = state(0, &configs(0..3));
    let case = |mode| {
        Case::new(mode)
            .with(&accepted)
            .edit("ConfigMap shop/c000", |live| live.drift = drift([field("data.k", "\"1\"", Some("\"9\""))]))
            .set("ConfigMap shop/c001", Live::Absent)
            .drift(&accepted)
    };
    check(&case("Off"), &["settled"]);
    check(
        &case("Flag"),
        &[
            "flag",
            r#"D101 ConfigMap shop/c000 data.k: it is "9"; needed: "1""#,
            "D102 ConfigMap shop/c001: it is gone; needed: the declared object",
        ],
    );
    check(
        &case("Revert"),
        &[
            "revert: 2 reverted, 1 unchanged",
            "configuration reverted ConfigMap shop/c000",
            r#"  data.k: "1" → "9""#,
            "configuration reverted ConfigMap shop/c001",
            r#"D101 ConfigMap shop/c000 data.k: it is "9""#,
            "D102 ConfigMap shop/c001: it is gone",
        ],
    );
}

#[test]
fn of_several_fields_the_one_that_matters_most_is_named() {
    let accepted = state(0, &configs(0..1));
    let of_class = |path: &str, class| FieldDiff { class, ..field(path, "\"1\"", Some("\"9\"")) };
    let fields = drift([
        of_class("spec.replicas", FieldClass::Replicas),
        of_class("spec.containers[name=web].image", FieldClass::Image),
        of_class("spec.containers[name=web].command", FieldClass::Command),
    ]);
    let decision =
        Case::new("Flag").with(&accepted).edit("ConfigMap shop/c000", |live| live.drift = fields).drift(&accepted);
    let found =
        r#"D101 ConfigMap shop/c000 spec.containers[name=web].image: it is "9" (and 2 more fields); needed: "1""#;
    check(&decision, &["flag", found]);
}

#[test]
fn no_drift_and_nothing_known_are_settled() {
    let accepted = state(0, &configs(0..2));
    check(&Case::new("Revert").with(&accepted).drift(&accepted), &["settled"]);
    let mut unobserved = Case::new("Revert");
    unobserved.cluster.otherwise = Live::Unobserved;
    check(&unobserved.drift(&accepted), &["settled"]);
    let elsewhere: Vec<_> = state(0, &config("x", "1")).iter().map(|object| object.reference.clone()).collect();
    check(
        &Case::new("Revert").ask(Question::Drift {
            accepted: &accepted,
            applied: Some(&accepted),
            interrupted: None,
            objects: &elsewhere,
        }),
        &["settled"],
    );
}

#[test]
fn an_object_named_twice_is_reverted_once() {
    let accepted = state(0, &config("a", "1"));
    let one = accepted.iter().next().unwrap().reference.clone();
    let objects = [one.clone(), one];
    let decision = Case::new("Revert").ask(Question::Drift {
        accepted: &accepted,
        applied: Some(&accepted),
        interrupted: None,
        objects: &objects,
    });
    assert_eq!(lines(&decision)[0], "revert: 1 reverted");
}

/// What a roll-out did not bring is brought by the rules of a roll-out, and is no drift.
#[test]
fn what_was_never_applied_is_created_and_taken_from_nobody() {
    let adopt = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d, annotations: {writ.dev/adopt: force}}\n";
    let (before, accepted) = (state(0, &config("a", "1")), state(1, &(config("a", "1") + &configs(0..2) + adopt)));
    let edit = drift([field("data.k", "\"1\"", Some("\"9\""))]);
    let case = |mode| {
        let case = Case::new(mode).with(&before);
        let foreign = accepted.iter().find(|object| object.reference.name == "c001").unwrap();
        let live = Live::Present(plan::Presence { drift: edit, ..presence(None) });
        let mut case = case.set("ConfigMap shop/a", Live::Absent);
        case.cluster.objects.insert(foreign.reference.clone(), live);
        case.drift_since(&accepted, Some(&before))
    };
    check(
        &case("Revert"),
        &[
            "revert: 3 created, 1 reverted",
            "configuration reverted ConfigMap shop/a",
            "configuration created ConfigMap shop/c000 unforced",
            "configuration created ConfigMap shop/c001 unforced",
            r#"  data.k: "1" → "9""#,
            "configuration created ConfigMap shop/d forced",
            "D102 ConfigMap shop/a: it is gone",
            r#"D101 ConfigMap shop/c001 data.k: it is "9""#,
        ],
    );
    check(
        &case("Flag"),
        &[
            "flag",
            "D102 ConfigMap shop/a: it is gone; needed: the declared object",
            r#"D101 ConfigMap shop/c001 data.k: it is "9"; needed: "1""#,
        ],
    );
    check(&case("Off"), &["settled"]);
    let missing = |mode| Case::new(mode).with(&before).drift_since(&accepted, Some(&before));
    assert_eq!(lines(&missing("Revert"))[0], "revert: 3 created, 1 unchanged");
    check(&missing("Flag"), &["settled"]);
}

/// A crash may lose what a roll-out was answered: what the log says was begun and bears our marks is ours.
#[test]
fn what_a_roll_out_that_was_cut_off_has_written_is_taken_back() {
    let (before, begun) = (state(0, &config("a", "1")), state(1, &(config("a", "1") + &config("b", "1"))));
    let case = |path: &str, edit: fn(&mut plan::Presence<'static>)| {
        let found = drift([field(path, "\"1\"", Some("\"9\""))]);
        let mut case = Case::new("Revert").with(&begun).edit("ConfigMap shop/b", |live| {
            (live.applied, live.drift) = (None, found);
            edit(live);
        });
        case.interrupted = Some(Arc::new(begun.clone()));
        case
    };
    let answers = |case: &Case| {
        [case.advance(&begun, Some(&before)), case.drift_since(&begun, Some(&before))].map(|answer| lines(&answer))
    };
    let [advance, heal] = answers(&case("data.k", |_| {}));
    assert_eq!(
        advance,
        [
            "apply: 1 configured, 1 unchanged",
            "configuration configured ConfigMap shop/b",
            r#"  data.k: "1" → "9""#,
            r#"D101 ConfigMap shop/b data.k: it is "9""#,
        ]
    );
    assert_eq!(heal[..2], ["revert: 1 reverted, 1 unchanged", "configuration reverted ConfigMap shop/b"]);
    // Anything less, and it is somebody else's.
    let label = r#"metadata.labels["applyset.kubernetes.io/part-of"]"#;
    let mut unknown = case("data.k", |_| {});
    unknown.interrupted = Some(Arc::new(before.clone()));
    let mut carried_out = case("data.k", |_| {});
    carried_out.interrupted = None;
    let others =
        [case("data.k", |live| live.manager = plan::Manager::Others), case(label, |_| {}), unknown, carried_out];
    for case in &others {
        for answer in answers(case) {
            assert_eq!(answer[1], "configuration created ConfigMap shop/b unforced");
        }
    }
}

/// The on-ramp: a plan is counted, drift is told, and nothing comes out that could be applied.
#[test]
fn in_mode_audit_all_is_reported_and_nothing_applied() {
    let (before, after) =
        (state(0, &(config("a", "1") + &config("b", "1"))), state(1, &(config("b", "2") + &config("c", "1"))));
    let edited = drift([field("data.k", "\"1\"", Some("\"9\""))]);
    let case = Case::new("Revert").with(&before).edit("ConfigMap shop/a", |live| live.drift = edited);
    let case = Case { mode: TrustMode::Audit, trailer: Some(1), ..case };
    let counts = |decision: Decision| match decision {
        Decision::Report(proposal) => {
            (proposal.origin, proposal.counts.created, proposal.counts.configured, proposal.counts.pruned)
        }
        other => unreachable!("{other:?}"),
    };
    assert_eq!(counts(case.advance(&after, Some(&before))), (PlanOrigin::Advance, 1, 1, 1));
    assert_eq!(counts(case.roll_back(&before, Some(&before))).0, PlanOrigin::Rollback);
    let removal = Question::Removal { applied: &before, partial: &[], trailer: PruneTrailer(Some(2)) };
    assert_eq!(counts(case.ask(removal)), (PlanOrigin::Removal, 0, 0, 2));
    let Decision::Flag(reports, _) = case.drift(&before) else { unreachable!() };
    assert_eq!(reports.iter().map(|report| report.reference.name.as_str()).collect::<Vec<_>>(), ["a"]);
    // Nobody looks where nobody is to look.
    let off = Case { spec: Case::new("Off").spec, ..case };
    check(&off.drift(&before), &["settled"]);
}

#[test]
fn what_another_sync_owns_is_not_taken_back() {
    let accepted = state(0, &config("a", "1"));
    let mut case = Case::new("Revert");
    case.cluster.owners.insert(accepted.iter().next().unwrap().reference.clone(), other());
    check(&case.drift(&accepted), &["settled"]);
}

#[test]
fn the_code_says_what_happened_to_the_labels() {
    let accepted = state(0, &config("a", "1"));
    let code = |path: &str, after: Option<&str>| {
        let found = drift([field("data.k", "\"1\"", Some("\"9\"")), field(path, "\"mine\"", after)]);
        let case = Case::new("Flag").with(&accepted).edit("ConfigMap shop/a", |live| live.drift = found);
        let Decision::Flag(reports, _) = case.drift(&accepted) else { unreachable!() };
        (reports[0].finding.code.code, reports[0].finding.subject.to_string())
    };
    let subject = |path: &str| format!("ConfigMap shop/a {path}");
    let part_of = r#"metadata.labels["applyset.kubernetes.io/part-of"]"#;
    let instance = r#"metadata.labels["writ.dev/instance"]"#;
    assert_eq!(code(part_of, Some("\"theirs\"")), ("D105", subject(part_of)));
    assert_eq!(code(part_of, None), ("D103", subject(part_of)));
    assert_eq!(code(instance, None), ("D103", subject(instance)));
    assert_eq!(code("metadata.labels", None), ("D103", subject("metadata.labels")));
    assert_eq!(code("data.l", None), ("D101", subject("data.k")));
}

#[test]
fn who_is_behind_a_difference_decides_its_code() {
    let accepted = state(0, &config("a", "1"));
    let part_of = r#"metadata.labels["applyset.kubernetes.io/part-of"]"#;
    let report = |path: &str, after: Option<&str>, seen: DriftSeen| {
        let found = drift([field(path, "\"mine\"", after)]);
        let case = Case::new("Revert").with(&accepted).edit("ConfigMap shop/a", |live| {
            live.drift = found;
            live.seen = seen;
        });
        let Decision::Revert(plan) = case.drift(&accepted) else { unreachable!() };
        let finding = &plan.reports()[0].finding;
        (finding.code.code, finding.found.clone(), finding.fix.starts_with("kubectl get mutatingwebhookconfigurations"))
    };
    assert_eq!(report("data.k", Some("\"9\""), DriftSeen::Event), ("D101", "it is \"9\"".into(), false));
    assert_eq!(
        report("data.k", Some("\"9\""), DriftSeen::Answer),
        ("D106", "it is \"9\" in the answer to our own write".into(), true)
    );
    assert_eq!(
        report("data.k", Some("\"9\""), DriftSeen::Replacement),
        ("D104", "another object has its name; it is \"9\"".into(), false)
    );
    assert_eq!(report(part_of, None, DriftSeen::Replacement).0, "D104");
    assert_eq!(report(part_of, Some("\"theirs\""), DriftSeen::Replacement).0, "D105");
    let object = accepted.iter().next().unwrap();
    let fought = DriftReport::of_fight(object, &DriftReport::of_absence(object, Absence::Deleted), 10).finding;
    assert_eq!(fought.code.code, "D107");
    assert_eq!(fought.found, "it is gone, was put back 10 times within a minute and is written again");
    assert!(fought.fix.starts_with("kubectl -n shop get ConfigMap a -o yaml"), "{}", fought.fix);
    let absence = |absence| DriftReport::of_absence(accepted.iter().next().unwrap(), absence).finding.code.code;
    assert_eq!([Absence::Deleted, Absence::Stripped, Absence::Replaced].map(absence), ["D102", "D103", "D104"]);
}

#[test]
fn the_paths_of_labels_are_those_of_the_comparison() {
    let accepted = state(0, &config("a", "1"));
    let object = accepted.iter().next().unwrap();
    let declared = object.value().unwrap();
    let mut live = declared.clone();
    live["metadata"]["labels"] = serde_json::json!({"applyset.kubernetes.io/part-of": "theirs"});
    let kind = &object.reference.group_kind;
    let found = plan::declared_differences(&declared, &live, kind, plan::Visibility::Shown);
    let paths: Vec<_> = found.iter().map(|difference| difference.path.as_str()).collect();
    assert_eq!(
        paths,
        [r#"metadata.labels["applyset.kubernetes.io/part-of"]"#, r#"metadata.labels["writ.dev/instance"]"#]
    );
}

// -- removal --------------------------------------------------------------------------------------------

/// What was withheld from pruning goes with its Sync, and is counted.
#[test]
fn a_removal_takes_what_incomplete_revisions_left_behind() {
    let (older, newer) = (Arc::new(state(0, &configs(0..3))), state(1, &configs(2..4)));
    let case = Case::new("Revert").with(&older).with(&newer);
    let partial = [older];
    let ask = |said| {
        let question = Question::Removal { applied: &newer, partial: &partial, trailer: PruneTrailer(said) };
        lines(&case.ask(question)).remove(0)
    };
    assert_eq!(ask(Some(4)), "apply: 4 pruned");
    assert_eq!(ask(Some(2)), "refuse");
}

/// Whatever an older revision said of it.
#[test]
fn a_removal_leaves_what_the_newest_declaration_keeps() {
    let never = |name: &str| config(name, "1").replace("}\ndata", ", annotations: {writ.dev/prune: never}}\ndata");
    let older = Arc::new(state(0, &(config("a", "1") + &never("b") + &config("c", "1"))));
    let between = Arc::new(state(1, &(never("a") + &never("c"))));
    let newer = state(1, &(never("a") + &config("b", "1")));
    let case = Case::new("Revert").with(&older).with(&newer);
    let question = Question::Removal { applied: &newer, partial: &[older, between], trailer: PruneTrailer(Some(1)) };
    check(&case.ask(question), &["apply: 1 pruned", "delete-configuration pruned ConfigMap shop/b u1@7"]);
}

#[test]
fn a_removed_sync_takes_its_objects_along_except_what_must_stay() {
    let never = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {writ.dev/prune: never}}\n";
    let applied = state(0, &(configs(0..2) + never));
    let case = Case::new("Revert").with(&applied).edit("ConfigMap shop/c001", |live| live.resource_version = "8");
    check(
        &case.ask(Question::Removal { applied: &applied, partial: &[], trailer: PruneTrailer(Some(2)) }),
        &[
            "apply: 2 pruned",
            "delete-configuration pruned ConfigMap shop/c000 u1@7",
            "delete-configuration pruned ConfigMap shop/c001 u1@8",
        ],
    );
}

#[test]
fn a_removal_says_how_much_it_takes_along() {
    let applied = state(0, &configs(0..3));
    let mut case = Case::new("Revert").with(&applied);
    let ask = |case: &Case, said: Option<u64>| {
        lines(&case.ask(Question::Removal { applied: &applied, partial: &[], trailer: PruneTrailer(said) })).remove(0)
    };
    let refused = case.ask(Question::Removal { applied: &applied, partial: &[], trailer: PruneTrailer(None) });
    check(
        &refused,
        &[
            "refuse",
            "A120 Sync shop/web: the commit prunes all 3 objects; needed: the trailer `Writ-Prune: 3` in the commit message",
        ],
    );
    assert_eq!(ask(&case, Some(2)), "refuse");
    assert_eq!(ask(&case, Some(3)), "apply: 3 pruned");
    // What another Sync took over stays, and is not counted.
    let taken = applied.iter().next().unwrap().reference.clone();
    case.cluster.owners.insert(taken, other());
    assert_eq!(ask(&case, Some(3)), "refuse");
    assert_eq!(ask(&case, Some(2)), "apply: 2 pruned");
}

#[test]
fn an_object_of_a_kind_that_is_served_no_more_is_gone() {
    let (before, after) = (state(0, &configs(0..3)), state(1, &configs(0..2)));
    let mut case = Case::new("Revert").with(&before).set("ConfigMap shop/c002", Live::Unserved);
    check(&case.advance(&after, Some(&before)), &["apply: 2 unchanged"]);
    // Unlike one of which nothing is known yet.
    case = case.set("ConfigMap shop/c002", Live::Unobserved);
    check(&case.advance(&after, Some(&before)), &["apply: 2 unchanged, 1 waiting"]);
}

// -- states ---------------------------------------------------------------------------------------------

#[test]
fn states_share_objects_and_have_one_digest() {
    let first = state(0, &configs(0..3));
    let commit = commits()[1].clone();
    let again = DesiredState::assemble(commit.clone(), commit.tree(), sync(), shared(&first)).unwrap();
    assert_eq!(again.digest(), first.digest());
    assert!(again.objects().zip(first.objects()).all(|(one, two)| Arc::ptr_eq(one, two)));
    assert_ne!(state(0, &configs(0..2)).digest(), first.digest());
    assert_ne!(state(0, &(configs(0..2) + &config("c002", "2"))).digest(), first.digest());
}

#[test]
fn a_state_takes_only_its_own_objects_each_once_from_its_own_tree() {
    let commit = commits()[1].clone();
    let assemble = |tree, sync, objects| match DesiredState::assemble(commit.clone(), tree, sync, objects) {
        Err(DesiredStateError::Annotations(findings)) => findings.iter().map(|finding| finding.code.code).collect(),
        Err(DesiredStateError::OtherTree { .. }) => vec!["tree"],
        Ok(_) => vec![],
    };
    let objects = shared(&state(0, &config("a", "1")));
    assert_eq!(assemble(commit.tree(), sync(), objects.clone()), [] as [&str; 0]);
    assert_eq!(assemble(commits()[0].tree(), sync(), objects.clone()), ["tree"]);
    assert_eq!(assemble(commit.tree(), other(), objects.clone()), ["A129"]);
    assert_eq!(assemble(commit.tree(), sync(), [objects.clone(), objects].concat()), ["M115"]);
}

#[test]
fn the_digest_of_a_plan_covers_everything_that_is_done() {
    let candidate = state(0, &config("a", "1"));
    let digest = |case: &Case, candidate: &DesiredState| plan_of(case.advance(candidate, None)).digest();
    let base = digest(&Case::new("Revert"), &candidate);
    assert_eq!(digest(&Case::new("Flag"), &candidate), base);
    let mut account = Case::new("Revert");
    account.spec.service_account_name = Some("other".into());
    let forced = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {writ.dev/adopt: force}}\n";
    let others = [
        digest(&account, &candidate),
        digest(&Case::new("Revert"), &state(1, &config("a", "1"))),
        digest(&Case::new("Revert"), &state(0, &config("a", "2"))),
        digest(&Case::new("Revert"), &state(0, forced)),
        digest(&Case::new("Revert").with(&candidate), &candidate),
    ];
    assert!(others.iter().all(|other| *other != base));
    let pruned = |version: &'static str| {
        let empty = state(1, &config("b", "1"));
        let mut case = Case::new("Revert").with(&candidate);
        case = case.edit("ConfigMap shop/a", |live| live.resource_version = version);
        case.trailer = Some(1);
        plan_of(case.advance(&empty, Some(&candidate))).digest()
    };
    assert_ne!(pruned("7"), pruned("8"));
    assert_eq!(pruned("7"), pruned("7"));
}

#[test]
fn the_body_carries_both_labels() {
    let state = state(0, &config("a", "1"));
    let object = state.iter().next().unwrap();
    let labels = object.value().unwrap()["metadata"]["labels"].clone();
    let id = plan::ApplySetId::of(&sync());
    assert_eq!(labels, serde_json::json!({"applyset.kubernetes.io/part-of": id.as_str(), "writ.dev/instance": "prod"}));
    assert_eq!(object.digest, Digest::of(&object.body));
    assert_eq!(presence(Some(object.digest)).applied, Some(object.digest));
    assert_eq!(rendered(&config("a", "1")).len(), 1);
}
