//! Rollbacks: who may order one, and what is none.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod rollback_case;

use memory::{World, at, config_map, path, person, policy, put_policy};
use rollback_case::{Case, case, check};
use trust::{NAMESPACE_ROLLBACK, OrderKind, Rollback, Seen, SignedOrder, Verifiers, Waivers, rollback_signers};

#[test]
fn who_may_change_the_folder_may_have_it_as_it_was() {
    let mut case = case(&[]);
    check(&case.verdict(), "ok bob");
    case.by = vec!["bob", "carol", "bob"];
    check(&case.verdict(), "ok bob carol");
    case.by = vec!["alice"];
    check(&case.verdict(), "W302: to order it: alice signed for apps/web.yaml");
    case.by = vec!["mallory"];
    check(&case.verdict(), "W302: to order it: nobody signed it; signed with key SHA256:");
    case.by = vec![];
    assert_eq!(case.verdict(), "W302: to order it: nobody signed it");
}

#[test]
fn thresholds_count_principals() {
    let mut case = case(&[("[{role: sre, threshold: 1}, {role: bots, threshold: 1}]", "[{role: sre, threshold: 2}]")]);
    // What bob alone signed was never accepted by these rules; what it takes now decides.
    check(&case.verdict(), "W303: to order it: 1 of 2 for apps/web.yaml (bob)");
    case.by = vec!["bob", "bob", "alice"];
    check(&case.verdict(), "W303: to order it: 1 of 2");
    case.by = vec!["bob", "carol"];
    check(&case.verdict(), "ok bob carol");
}

#[test]
fn whoever_stands_beside_an_author_is_somebody_else() {
    let mut case = case(&[(
        "[{role: sre, threshold: 1}, {role: bots, threshold: 1}]",
        "[{role: sre, threshold: 1, distinctFromAuthor: true}]",
    )]);
    check(&case.verdict(), "W302");
    case.by = vec!["bob", "carol"];
    check(&case.verdict(), "ok bob carol");
    // A commit by alice that bob approves is one that the rule lets pass.
    case.by = vec!["alice", "bob"];
    check(&case.verdict(), "ok alice bob");
}

#[test]
fn every_file_that_differs_counts_and_no_other_does() {
    let mut case = case(&[]);
    let extra = case.world.put(case.to, "bob", "docs/notes.txt", "1");
    let newest = case.world.put(extra, "alice", "policies/limits.txt", "1");
    case.accepted = case.world.put(newest, "bob", "apps/web.yaml", &config_map("web", 4));
    (case.verified, case.in_force) = (case.accepted, case.accepted);
    check(&case.verdict(), "ok bob");
    // The whole repository: notes are covered by no rule; policies are never a Sync's.
    case.folder = "";
    check(&case.verdict(), "W302: to order it: bob signed for docs/notes.txt, which no rule covers");
    case.folder = "docs";
    check(&case.verdict(), "W302");
    case.folder = "elsewhere";
    check(&case.verdict(), "W703: nothing that the Sync applies differs");
    case.folder = "policies";
    check(&case.verdict(), "W703: nothing that the Sync applies differs");
}

#[test]
fn kinds_that_come_back_are_judged_by_the_rules() {
    let mut case = case(&[]);
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\n";
    case.to = case.world.put(case.to, "bob", "apps/role.yaml", role);
    case.accepted = case.world.push(case.to, Some("bob"), |tree| _ = tree.remove(&path("apps/role.yaml")).unwrap());
    (case.verified, case.in_force) = (case.accepted, case.accepted);
    check(&case.verdict(), "W305: apps/role.yaml declares ClusterRole.rbac.authorization.k8s.io all");
}

#[test]
fn an_order_counts_for_what_was_signed() {
    let case = case(&[]);
    check(&case.with(|order| order.repo_id = "urn:writ:other".to_owned()), "W703: it is for urn:writ:other");
    check(&case.with(|order| order.about = "shop/api".to_owned()), "W703: it is for shop/api");
    let other = case.world.memory.payload(&case.accepted);
    check(&case.with(|order| order.payload_sha256 = other), "W703: its payload has sha256");
    let nonce = |text: &str| OrderKind::Rollback { nonce: text.to_owned() };
    check(&case.with(|order| order.kind = nonce("")), "W703: its nonce has 0 bytes");
    // Edited after it was signed.
    let edits: [fn(&mut SignedOrder); 3] = [
        |order| order.reason = "another".to_owned(),
        |order| order.not_after = order.not_after.checked_add(std::time::Duration::from_secs(1)).unwrap(),
        |order| order.kind = OrderKind::Rollback { nonce: "n2".to_owned() },
    ];
    for edit in edits {
        let mut order = case.order();
        let signature = person("bob").sign(NAMESPACE_ROLLBACK, &order.payload());
        edit(&mut order);
        check(&case.judge(&order, &[signature]), "W302: to order it: nobody");
    }
}

#[test]
fn a_signature_for_another_purpose_is_none() {
    let mut case = case(&[]);
    for namespace in ["git", "writ-trust@1", "writ-approval@1", "writ-breakglass@1"] {
        case.namespace = namespace;
        let verdict = case.verdict();
        check(&verdict, "W302");
        assert!(verdict.contains("a signature for the namespace"), "{verdict}");
    }
}

#[test]
fn its_time_comes_and_is_over() {
    let mut case = case(&[]);
    let now = case.world.now;
    check(&case.with(|order| order.not_after = at(now)), "ok");
    check(&case.with(|order| order.not_after = at(now - 1)), "W703: it expired");
    check(&case.with(|order| order.not_after = at(now + 24 * 3_600)), "ok");
    check(&case.with(|order| order.not_after = at(now + 24 * 3_600 + 1)), "W703: it counts until");
    // Seen too early it does not ripen.
    case.first_seen = now - 1;
    check(&case.with(|order| order.not_after = at(now + 24 * 3_600)), "W703: it counts until");
}

#[test]
fn only_back_and_only_to_something_else() {
    let mut case = case(&[]);
    let (to, accepted) = (case.to, case.accepted);
    case.to = accepted;
    check(&case.verdict(), "W703: it is in force");
    case.to = case.world.put(accepted, "bob", "apps/web.yaml", &config_map("web", 5));
    check(&case.verdict(), "W703: it is not in the history of");
    case.to = case.world.put(case.world.introduction, "bob", "apps/web.yaml", &config_map("web", 6));
    check(&case.verdict(), "W703: it is not in the history of");
    // After a rollback: further back, or to what was taken back.
    case.in_force = to;
    case.to = case.world.introduction;
    check(&case.verdict(), "ok");
    case.to = accepted;
    check(&case.verdict(), "ok");
}

/// What an earlier rollback put back is taken away again by those who may change it.
#[test]
fn what_is_in_force_is_changed_by_those_who_may_change_it() {
    let mut case = case(&[]);
    case.folder = "";
    let strict = case.world.push(case.world.introduction, Some("alice"), |tree| {
        let rule = "  - {name: secure, paths: [\"secure/**\"], anyOf: [{role: security, threshold: 1}]}\nhistory:";
        put_policy(tree, &policy(2, &[("history:", rule)]), &["alice", "dave"]);
    });
    let first = case.world.put(strict, "alice", "secure/a.txt", "1");
    let second = case.world.put(first, "bob", "apps/web.yaml", &config_map("web", 2));
    case.to = case.world.put(second, "alice", "secure/a.txt", "2");
    case.accepted = case.world.put(case.to, "bob", "apps/web.yaml", &config_map("web", 3));
    (case.verified, case.in_force) = (case.accepted, case.accepted);
    check(&case.verdict(), "ok bob");
    case.in_force = first;
    check(&case.verdict(), "W302: to order it: bob signed for secure/a.txt");
}

#[test]
fn the_trust_file_of_today_judges() {
    let mut case = case(&[]);
    let without_bob = policy(2, &[("sre: [bob, carol]", "sre: [carol]")]);
    case.verified =
        case.world.push(case.accepted, Some("alice"), |tree| put_policy(tree, &without_bob, &["alice", "dave"]));
    check(&case.verdict(), "W302: to order it: bob signed for");
    case.by = vec!["carol"];
    check(&case.verdict(), "ok carol");
    case.world.now = memory::BASE + 600 * 86_400;
    case.first_seen = case.world.now;
    check(&case.verdict(), "W508: apps/web.yaml changed");
}

/// Nothing comes back that was revoked, and no revoked or ended key orders.
#[test]
fn what_is_revoked_stays_away() {
    let verdict = |by: &'static str, edit: &dyn Fn(&Case) -> String| {
        let mut case = case(&[]);
        case.accepted = case.world.put(case.to, "carol", "apps/web.yaml", &config_map("web", 3));
        let text = edit(&case);
        case.verified =
            case.world.push(case.accepted, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        (case.in_force, case.by) = (case.accepted, vec![by]);
        case.verdict()
    };
    let revoked = |what: String| policy(2, &[("revoked: []", &format!("revoked: [{what}]"))]);
    let bob = person("bob").fingerprint();
    let payload = |case: &Case| {
        let payload = case.world.memory.payload(&case.to);
        revoked(format!("{{payload: \"sha256:{payload}\", reason: bad}}"))
    };
    check(&verdict("carol", &payload), "W304: its content (sha256");
    let key = |_: &Case| revoked(format!("{{key: \"{bob}\", kind: hard}}"));
    check(&verdict("carol", &key), "W304: it still holds what is revoked: apps/web.yaml");
    let end = |_: &Case| {
        let public = person("carol").public();
        policy(2, &[(&format!("ssh: \"{public}\""), &format!("ssh: \"{public}\", notAfter: 2026-01-01T00:30:00Z"))])
    };
    let found = verdict("carol", &end);
    check(&found, "W302: to order it: nobody signed it; key SHA256:");
    assert!(found.contains("of carol ended 2026-01-01T00:30:00Z"), "{found}");
}

/// What an order without a signature costs is one commit and one trust file, however long the history is.
#[test]
fn what_nobody_signed_is_told_first() {
    let mut case = case(&[]);
    let text =
        policy(2, &[("revoked: []", &format!("revoked: [{{key: \"{}\", kind: hard}}]", person("bob").fingerprint()))]);
    case.verified = case.world.push(case.accepted, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
    case.by = vec!["carol"];
    check(&case.verdict(), "W304: it still holds what is revoked: apps/web.yaml");
    // Nor may everybody have the history looked through who has a key.
    case.world.memory.missing.insert(case.world.introduction);
    check(&case.verdict(), "W403");
    case.by = vec!["frank"];
    check(&case.verdict(), "W302: to order it: frank signed for apps/web.yaml");
    case.folder = "elsewhere";
    for by in [vec![], vec!["mallory"], vec!["bob"]] {
        case.by = by;
        check(&case.verdict(), "W302: to order it: nobody signed it");
    }
    let signers = |sync| {
        let order = case.order();
        let signatures = [person("carol").sign(NAMESPACE_ROLLBACK, &order.payload())];
        let rollback = Rollback {
            order: &order,
            signatures: &signatures,
            sync,
            folder: &path("elsewhere"),
            verified: &case.verified,
            accepted: &case.accepted,
            in_force: &case.in_force,
            seen: Seen { first: at(case.world.now), now: at(case.world.now) },
            waivers: &Waivers::default(),
        };
        rollback_signers(&case.world.memory, &case.world.root, &rollback, Verifiers::default())
    };
    assert_eq!(signers("shop/web").unwrap().into_iter().collect::<Vec<_>>(), ["carol"]);
    assert_eq!(signers("shop/api").unwrap_err().code.code, "W703");
}

/// Whatever its rules name: the repository cannot override itself.
#[test]
fn an_order_in_the_repository_is_refused() {
    let rule = ("kinds: [\"!ClusterRole*\", \"namespaced\"]", "kinds: [\"*.writ.dev/*\", \"writ.dev/*\"]");
    let mut world = World::with(&policy(1, &[rule]));
    let of = |kind: &str| format!("apiVersion: writ.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: one}}\nspec: {{}}\n");
    for (kind, code) in [("Sync", "ok"), ("RollbackRequest", "W305"), ("BreakGlass", "W305")] {
        let commit = world.put(world.introduction, "bob", "apps/order.yaml", &of(kind));
        assert_eq!(world.code(commit), code, "{kind}");
    }
}

#[test]
fn what_is_signed_is_canonical() {
    let case = case(&[]);
    let order = case.order();
    let text = String::from_utf8(order.payload()).unwrap();
    let (commit, payload) = (order.commit, order.payload_sha256);
    let expected = format!(
        "{{\"commit\":\"{commit}\",\"nonce\":\"n1\",\"notAfter\":\"2026-01-02T01:00:00Z\",\"payloadSha256\":\"{payload}\",\
         \"reason\":\"errors since noon\",\"repoId\":\"urn:writ:test\",\"sync\":\"shop/web\"}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn an_order_is_kept_as_it_was_signed() {
    let order = case(&[]).order();
    let kept = serde_json::to_value(&order).unwrap();
    assert_eq!(kept, order.statement());
    assert_eq!(serde_json::from_value::<SignedOrder>(kept.clone()).unwrap(), order);
    for (field, value) in [("commit", "x"), ("notAfter", "2026-01-02T01:00:00+00:00"), ("other", "1")] {
        let mut edited = kept.clone();
        edited[field] = value.into();
        assert!(serde_json::from_value::<SignedOrder>(edited).is_err(), "{field}");
    }
}
