//! Histories that are long: what is above a floor is listed, what is below it is judged, and there is an end.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use std::cell::Cell;

use manifest::RepoPath;
use memory::{BASE, World, at, code, config_map, path, person, policy, put_policy};
use trust::{
    Change, CommitId, Entry, HeldTo, History, HistoryError, MAX_STEPS, NAMESPACE_APPROVAL, SignatureCache, Start,
    TreeId, Verifiers, Waivers, envelope, envelope_message, held_to, judge, judge_with, still_waived,
};

/// A history without end above an introduction: every commit has another parent.
struct Endless<'a>(&'a World);

impl History for Endless<'_> {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        if let Some(known) = self.0.memory.commit(id)? {
            return Ok(Some(known));
        }
        let number = u64::from_str_radix(&id.to_string()[..16], 16);
        let number = number.map_err(|error| HistoryError::Read { reason: error.to_string() })?;
        Ok(Some(format!("parent {:016x}{}\n", number + 1, "0".repeat(24)).into_bytes()))
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.0.memory.changes(from, to, limit)
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        self.0.memory.read(commit, path)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        self.0.memory.entry(commit, path)
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.0.memory.attestations(commit, tree)
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        self.0.memory.list(commit, folder)
    }

    fn side_commits(&self, _: &CommitId, _: &CommitId, _: usize) -> Result<Vec<CommitId>, HistoryError> {
        Ok(Vec::new())
    }

    fn is_ancestor(&self, _: &CommitId, _: &CommitId) -> Result<bool, HistoryError> {
        Ok(false)
    }
}

/// Counts the commits and the files that are read, and what else is asked.
struct Counting<'a> {
    world: &'a World,
    commits: Cell<usize>,
    files: Cell<usize>,
    others: Cell<usize>,
}

impl<'a> Counting<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, commits: Cell::new(0), files: Cell::new(0), others: Cell::new(0) }
    }

    fn other(&self) -> &'a World {
        self.others.set(self.others.get() + 1);
        self.world
    }
}

impl History for Counting<'_> {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.commits.set(self.commits.get() + 1);
        self.world.memory.commit(id)
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.other().memory.changes(from, to, limit)
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        self.files.set(self.files.get() + 1);
        self.world.memory.read(commit, path)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        self.other().memory.entry(commit, path)
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.other().memory.attestations(commit, tree)
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        self.world.memory.list(commit, folder)
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        self.other().memory.side_commits(mainline, step, limit)
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        self.world.memory.is_ancestor(ancestor, of)
    }
}

/// A kind that is not built in asks for the definitions of the whole tree, at every step; what did not change since the
/// step before is not read again, and what did is.
#[test]
fn definitions_are_looked_for_in_what_changed() {
    const FILES: usize = 40;
    const STEPS: usize = 20;
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.x.io}\n\
                      spec: {group: x.io, scope: Namespaced, names: {kind: Gadget, plural: gadgets}, versions: []}\n";
    let mut tree = World::new().memory.tree(&World::new().introduction);
    tree.insert(path("crds/gadget.yaml"), definition.as_bytes().to_vec());
    tree.extend((0..FILES).map(|number| (path(&format!("apps/{number}.yaml")), config_map("a", 1).into_bytes())));
    let mut world = World::of(tree);
    let mut head = world.introduction;
    for number in 0..STEPS {
        let gadget = format!("apiVersion: x.io/v1\nkind: Gadget\nmetadata: {{name: a{number}}}\n");
        head = world.put(head, "bob", "apps/gadget.yaml", &gadget);
    }
    let counting = Counting::new(&world);
    let judgement = judge(&counting, &world.root, &Start::Introduction, &head, at(BASE + 86_400));
    assert_eq!(code(&judgement), "ok");
    // The tree once; of each step its file, as it was, and again where it is looked at for definitions.
    let once = FILES + STEPS * 3 + 8;
    assert!(counting.files.get() <= once, "{} files were read, not {once}", counting.files.get());
}

/// With a revocation in force the mainline is looked through for what its key signed: once, and then what is new.
#[test]
fn what_was_looked_through_for_revoked_commits_is_not_looked_through_again() {
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", person("bob").fingerprint());
    let costs = [20, 100].map(|length| {
        let mut world = World::new();
        world.now = BASE + 86_400;
        let cache = SignatureCache::default();
        let bobs = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
        let text = policy(2, &[("revoked: []", &revoked)]);
        let mut head = world.push(bobs, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        for number in 0..length {
            head = world.put(head, "carol", "apps/other.yaml", &config_map("other", number));
        }
        let judge = |world: &World, start: &Start, head: CommitId| {
            let counting = Counting::new(world);
            let judgement = judge_with(&counting, &world.root, start, &head, at(world.now), Some(&cache));
            assert_eq!(judgement, world.judge(start, head));
            assert_eq!(code(&judgement), "ok");
            (judgement, counting.commits.get(), counting.files.get())
        };
        let (first, _, _) = judge(&world, &Start::Introduction, head);
        assert_eq!(first.broken().map(|finding| finding.code.code), Some("W304"));
        let start = Start::Resumed(first.accepted().unwrap().clone());
        // Nothing new; then what bob left is made anew; then another step.
        let mut costs = Vec::new();
        for (change, broken) in [(None, true), (Some("apps/x.yaml"), true), (Some("apps/web.yaml"), false)] {
            if let Some(file) = change {
                head = world.put(head, "carol", file, &config_map("web", 3));
            }
            let (judgement, commits, files) = judge(&world, &start, head);
            assert_eq!(judgement.broken().is_some(), broken, "{change:?}");
            costs.push((commits, files));
        }
        // What bob brought there was made anew, and stays so with the old value in place.
        head = world.put(head, "carol", "apps/web.yaml", &config_map("web", 2));
        assert_eq!(judge(&world, &start, head).0.broken(), None);
        // Another branch, from before: the whole mainline is looked through.
        let other = world.put(bobs, "carol", "apps/web.yaml", &config_map("web", 4));
        let other = world.push(other, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        assert_eq!(judge(&world, &Start::Introduction, other).0.broken(), None);
        assert!(judge(&world, &start, head).0.broken().is_none());
        costs
    });
    assert_eq!(costs[0], costs[1]);
}

/// What a Sync is held to is asked of all accepted steps, which are judged once for it, and then what is new of them; so it
/// is while an order to break the glass is active.
#[test]
fn what_was_accepted_is_judged_once_for_what_is_held() {
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard, reason: stolen}}]", person("bob").fingerprint());
    let costs = [20, 100].map(|length| {
        let rule = ("role: sre, threshold: 1", "role: sre, threshold: 1, distinctFromAuthor: true");
        let mut world = World::with(&policy(1, &[rule, ("sre: [bob, carol]", "sre: [bob, carol, erin, frank]")]));
        let mut history = vec![world.introduction];
        for number in 0..length {
            let last = *history.last().unwrap();
            let step = world.put(last, "carol", "apps/web.yaml", &config_map("web", number + 2));
            let payload = world.approval(step).payload();
            let notes = ["bob", "erin"].map(|who| {
                let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
                envelope(&payload, &[(who, &signature)]).into_bytes()
            });
            world.memory.notes.insert(step, notes.to_vec());
            history.push(step);
        }
        let (held, through) = (history[history.len() - 2], history[1]);
        let text = policy(2, &[("revoked: []", &revoked)]);
        let last = *history.last().unwrap();
        let mut head = world.push(last, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        for number in 0..length {
            head = world.put(head, "carol", "apps/other.yaml", &config_map("other", number));
        }
        let (cache, folder, waivers) = (SignatureCache::default(), path("apps"), Waivers::default());
        let mut start = Start::Introduction;
        let mut cost = |world: &World, verified: &CommitId| {
            let (counting, now) = (Counting::new(world), at(world.now));
            let with = Verifiers { known: Some(&cache), keyless: None };
            let judgement = judge_with(&counting, &world.root, &start, verified, now, with);
            assert_eq!((code(&judgement), judgement.broken()), ("ok", None));
            start = Start::Resumed(judgement.accepted().unwrap().clone());
            let asked = HeldTo { commit: &held, folder: Some(&folder), verified, order: None, waivers: &waivers };
            assert_eq!(held_to(&counting, &world.root, &asked, now, with), Ok(()));
            let step = (&world.introduction, &through);
            let left = still_waived(&counting, &world.root, step, verified, now, with, &waivers);
            assert_eq!(left, Ok(Vec::new()));
            let step = (&history[history.len() - 3], &held);
            assert_eq!(still_waived(&counting, &world.root, step, verified, now, with, &waivers), Ok(Vec::new()));
            (counting.commits.get(), counting.files.get(), counting.others.get())
        };
        let first = cost(&world, &head);
        let again = cost(&world, &head);
        head = world.put(head, "carol", "apps/other.yaml", &config_map("other", 1_000));
        let next = cost(&world, &head);
        assert!(again <= next && next.0 < first.0 / 4 && next.2 < first.2 / 4, "{again:?} {next:?} {first:?}");
        (again, next)
    });
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_history_without_end_is_refused_and_the_fix_is_one_that_helps() {
    let mut world = World::new();
    let good = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    let head: CommitId = format!("{:040x}", 0).parse().unwrap();
    for (start, away, fix) in [
        (Start::Above(good), "steps from the introduction", "name a later introduction in the TrustRoot: "),
        (Start::Accepted(good), "steps from the last accepted commit", "advance in smaller portions"),
    ] {
        let judgement = judge(&Endless(&world), &world.root, &start, &head, at(BASE + 3_600));
        let finding = judgement.refusal().unwrap();
        assert_eq!(
            (finding.code.code, finding.found.as_str()),
            ("W403", format!("more than {MAX_STEPS} {away}").as_str())
        );
        assert!(finding.fix.starts_with(fix), "{}", finding.fix);
        assert_eq!((judgement.steps.len(), judgement.steps[0].commit), (1, head));
    }
}

#[test]
fn steps_up_to_a_floor_are_judged_and_not_kept() {
    let mut world = World::new();
    let mut tips = vec![world.introduction];
    for number in 1..=6 {
        let tip = world.put(*tips.last().unwrap(), "bob", "apps/web.yaml", &config_map("web", number));
        tips.push(tip);
    }
    let above = world.judge(&Start::Above(tips[4]), tips[6]);
    assert_eq!((above.from, above.steps.len()), (Some(tips[4]), 2));
    assert_eq!(above.accepted().unwrap().id(), tips[6]);
    // With the floor in the TrustRoot, and nothing accepted yet, all of them are listed.
    world.root.resume_from = Some(tips[4]);
    let whole = world.judge(&Start::Introduction, tips[6]);
    assert_eq!((whole.from, whole.steps.len()), (Some(tips[0]), 6));
    assert_eq!(whole.accepted().unwrap().id(), tips[6]);
    // The proof stands on the TrustRoot before its edit: judged again from the introduction, to the same verdict.
    let proven = above.accepted().unwrap().clone();
    world.root.min_policy_version = 1;
    let again = world.judge(&Start::Resumed(proven.clone()), tips[6]);
    assert_eq!((again.refusal(), again.from, again.steps.len()), (None, Some(tips[6]), 0));
    assert_ne!(again.accepted().unwrap().trust_digest(), proven.trust_digest());
    // A bad step below the floor is told.
    let unsigned = world.push(tips[1], None, |tree| _ = tree.insert(path("apps/x.yaml"), Vec::new()));
    let later = world.put(unsigned, "bob", "apps/web.yaml", &config_map("web", 9));
    let refused = world.judge(&Start::Above(later), later);
    assert_eq!((refused.from, refused.steps.len()), (Some(tips[1]), 1));
    assert_eq!((code(&refused), refused.accepted()), ("W301", None));
}
