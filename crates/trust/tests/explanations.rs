//! Why a path may be changed or not, told rule by rule.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, at, path, person, policy, put_policy};
use trust::{
    CommitId, Judgement, NAMESPACE_APPROVAL, PathReasons, Start, StepReasons, Verifiers, envelope, envelope_message,
    explain,
};

const TWO: (&str, &str) = ("{role: security, threshold: 1}", "{role: security, threshold: 2}");
const TRANSITIVE: (&str, &str) =
    ("history: {ancestry: firstParent}", "history: {ancestry: firstParent, mergeCredit: transitive}");

fn told(world: &World, head: CommitId, file: &str) -> (Judgement, Vec<StepReasons>) {
    let file = path(file);
    explain(&world.memory, &world.root, &Start::Introduction, &head, at(world.now), Some(&file), Verifiers::default())
}

/// One path, in a line for each rule, after the principals who stand for it.
fn lines(world: &World, head: CommitId, file: &str) -> Vec<String> {
    let (judgement, steps) = told(world, head, file);
    assert_eq!(judgement, world.judge(&Start::Introduction, head), "telling changes no verdict");
    let reasons = steps.last().unwrap().path.clone().unwrap();
    assert_eq!(reasons.verdict.is_ok(), !reasons.rules.is_empty() && reasons.rules.iter().all(|rule| rule.holds()));
    let mut lines = vec![standing(&reasons)];
    for rule in &reasons.rules {
        let items = rule.any_of.iter().map(|item| {
            let author = if item.distinct_from_author { " besides the author" } else { "" };
            let (counted, excluded) = (item.counted.join("+"), item.excluded.join("+"));
            format!("{} of {}{author}: {counted} not {excluded}", item.threshold, item.role)
        });
        let holds = if rule.holds() { "holds" } else { "fails" };
        lines.push(format!("{} {holds}; {}", rule.rule, items.collect::<Vec<_>>().join("; ")));
    }
    lines
}

fn standing(reasons: &PathReasons) -> String {
    let one = |(name, how): (&String, &std::collections::BTreeSet<trust::Standing>)| format!("{name} {how:?}");
    reasons.credit.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn approve(world: &mut World, step: CommitId, who: &str) {
    let approval = world.approval(step);
    let payload = approval.payload();
    let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
    world.memory.notes.entry(step).or_default().push(envelope(&payload, &[(who, &signature)]).into_bytes());
}

#[test]
fn every_alternative_is_told_with_who_counts() {
    let mut world = World::new();
    let good = world.put(world.introduction, "bob", "apps/x.txt", "1");
    let counted = ["bob {Signed}", "apps holds; 1 of sre: bob not ; 1 of bots:  not "];
    assert_eq!(lines(&world, good, "apps/x.txt"), counted);
    let (_, steps) = told(&world, good, "apps/other.txt");
    assert_eq!((steps.len(), &steps[0].path, steps[0].predecessor), (1, &None, world.introduction));
    // A machine where people are needed is named as one.
    let edits = [("security: [alice, frank]", "security: [alice, frank, relbot]")];
    let mut world = World::with(&policy(1, &edits));
    let bad = world.put(world.introduction, "relbot", "policies/p.txt", "1");
    let counted = ["relbot {Signed}", "policies fails; 1 of security:  not relbot"];
    assert_eq!(lines(&world, bad, "policies/p.txt"), counted);
    // What no rule covers.
    let bad = world.put(world.introduction, "alice", "README", "1");
    assert_eq!(lines(&world, bad, "README"), ["alice {Signed}"]);
    let (_, steps) = told(&world, bad, "README");
    assert_eq!((steps[0].uncovered, steps[0].rules.len()), (1, 0));
}

#[test]
fn approvals_and_sides_are_told_apart() {
    let mut world = World::with(&policy(1, &[TWO]));
    let step = world.put(world.introduction, "alice", "policies/p.txt", "1");
    assert_eq!(lines(&world, step, "policies/p.txt")[1], "policies fails; 2 of security: alice not ");
    approve(&mut world, step, "frank");
    approve(&mut world, step, "bob");
    let counted =
        ["alice {Signed}, bob {Approved}, frank {Approved}", "policies holds; 2 of security: alice+frank not "];
    assert_eq!(lines(&world, step, "policies/p.txt"), counted);

    let mut world = World::with(&policy(1, &[TWO, TRANSITIVE]));
    let side = world.put(world.introduction, "alice", "policies/p.txt", "1");
    let tree = world.memory.tree(&side);
    let merge =
        world.memory.store(&[world.introduction, side], tree, Some(&person("frank")), world.memory.time(&side) + 60);
    let counted = ["alice {MergedFrom}, frank {Signed}", "policies holds; 2 of security: alice+frank not "];
    assert_eq!(lines(&world, merge, "policies/p.txt"), counted);
}

#[test]
fn the_author_does_not_count_where_another_is_needed() {
    let edit = ("{role: security, threshold: 1}", "{role: security, threshold: 1, distinctFromAuthor: true}");
    let mut world = World::with(&policy(1, &[edit]));
    let step = world.put(world.introduction, "alice", "policies/p.txt", "1");
    assert_eq!(lines(&world, step, "policies/p.txt")[1], "policies fails; 1 of security besides the author:  not ");
    approve(&mut world, step, "frank");
    assert_eq!(
        lines(&world, step, "policies/p.txt")[1],
        "policies holds; 1 of security besides the author: frank not "
    );
}

#[test]
fn a_new_trust_file_has_its_signers() {
    let mut world = World::new();
    let next = policy(2, &[]);
    let step = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &next, &["alice", "dave"]));
    let counted =
        ["alice {Signed, SignedTrustFile}, dave {SignedTrustFile}", "trust holds; 2 of root: alice+dave not "];
    assert_eq!(lines(&world, step, ".writ/trust.yaml"), counted);
}

#[test]
fn rules_of_a_whole_step_are_told_by_the_paths_they_cover() {
    let mut world = World::new();
    let first = world.put(world.introduction, "bob", "apps/x.txt", "1");
    let second = world.push(first, Some("carol"), |tree| {
        tree.insert(path("apps/x.txt"), b"2".to_vec());
        tree.insert(path("apps/y.txt"), b"2".to_vec());
    });
    // Refused before any rule is asked: nothing is told of it.
    let third = world.push(second, None, |tree| _ = tree.insert(path("apps/z.txt"), b"3".to_vec()));
    let (judgement, steps) =
        explain(&world.memory, &world.root, &Start::Introduction, &third, at(world.now), None, Verifiers::default());
    assert_eq!(judgement.steps.len(), 3);
    let rules: Vec<_> = steps
        .iter()
        .map(|step| {
            let rule = &step.rules[0];
            let by: Vec<&str> = rule.by.iter().map(String::as_str).collect();
            (step.commit, step.rules.len(), rule.rule.as_str(), rule.paths, rule.holds, by.join(","))
        })
        .collect();
    let expected = [(first, 1, "apps", 1, true, "bob".to_owned()), (second, 1, "apps", 2, true, "carol".to_owned())];
    assert_eq!(rules, expected);
}
