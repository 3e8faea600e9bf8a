//! Large input: what is within its named limit is judged with so much work, what is above it is refused by name.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use std::cell::Cell;

use manifest::RepoPath;
use memory::{BASE, Tree, World, at, code, config_map, path, person, policy, put_policy};
use trust::{
    Change, CommitId, Entry, History, HistoryError, MAX_ITEMS, MAX_PARENTS, MAX_TRUST_FILE_BYTES, Start, TreeId,
    TrustFile, judge,
};

/// Code, what was found and what is needed, of the only mistake of a trust file.
fn mistake(text: &str) -> (&'static str, String, String) {
    let findings = TrustFile::parse(text.as_bytes()).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:?}");
    (findings[0].code.code, findings[0].found.to_string(), findings[0].needed.to_string())
}

/// The usual trust file, with so many more people who may do what bob may.
fn with_people(count: usize) -> String {
    let people = (0..count).map(|number| {
        format!("  p{number}: {{kind: human, keys: [{{ssh: \"{}\"}}]}}\n", person(&format!("p{number}")).public())
    });
    let people: String = people.collect();
    let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
    let roles = format!("{people}roles:");
    policy(1, &[("roles:", &roles), ("sre: [bob, carol]", &format!("sre: [{}]", names.join(", ")))])
}

#[test]
fn a_trust_file_of_ten_megabytes_is_refused_by_its_size() {
    let large = policy(1, &[]) + &"# padding\n".repeat(1 << 20);
    assert!(large.len() > 10 << 20);
    let size = (format!("{} bytes", large.len()), format!("at most {MAX_TRUST_FILE_BYTES} bytes"));
    assert_eq!(mistake(&large), ("W502", size.0.clone(), size.1));
    // Nothing of it is read, so nothing else is said of it; also where a step brings it.
    let nonsense = vec![b'{'; 10 << 20];
    assert_eq!(mistake(&String::from_utf8(nonsense).unwrap()).0, "W502");
    let mut world = World::new();
    let step = world.push(world.introduction, Some("alice"), |tree| put_policy(tree, &large, &["alice", "dave"]));
    let judgement = world.judge(&Start::Introduction, step);
    assert_eq!((code(&judgement), judgement.refusal().unwrap().found.as_str()), ("W502", size.0.as_str()));
}

#[test]
fn ten_thousand_principals_are_refused_and_a_thousand_are_judged() {
    let (found, needed) = (|text: &str| mistake(text).1, |text: &str| mistake(text).2);
    let many = with_people(10_000);
    assert_eq!(needed(&many), format!("at most {MAX_TRUST_FILE_BYTES} bytes"));
    // More than are counted, in fewer bytes than are read. Seven people are there already.
    let over = with_people(MAX_ITEMS - 6);
    assert!(over.len() <= MAX_TRUST_FILE_BYTES);
    assert!(found(&over).contains(&(MAX_ITEMS + 1).to_string()), "{}", found(&over));
    assert_eq!(needed(&over), format!("a mapping of 1 to {MAX_ITEMS} entries"));
    let most = MAX_ITEMS - 7;
    let mut world = World::with(&with_people(most));
    let last = format!("p{}", most - 1);
    let step = world.put(world.introduction, &last, "apps/web.yaml", &config_map("web", 2));
    assert_eq!(world.code(step), "ok");
    let stranger = world.put(world.introduction, "bob", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(world.code(stranger), "W302");
}

#[test]
fn a_thousand_rules_are_judged_and_one_more_is_refused() {
    let ruled = |count: usize| {
        let rule = |number: usize| {
            format!("  - {{name: r{number}, paths: [\"apps/{number}/**\"], anyOf: [{{role: sre, threshold: 1}}]}}\n")
        };
        let rules: String = (0..count).map(rule).collect();
        // The three of the usual file, with the one for apps narrowed to a file that is there.
        policy(1, &[("paths: [\"apps/**\"]", "paths: [\"apps/*\"]"), ("history: {", &format!("{rules}history: {{"))])
    };
    let needed = format!("a list of 1 to {MAX_ITEMS} items");
    assert_eq!(mistake(&ruled(MAX_ITEMS - 2)).2, needed);
    // The patterns of all rules have a limit of their own: these have one each, that for policies two.
    let most = MAX_ITEMS - 4;
    assert_eq!(TrustFile::parse(ruled(most).as_bytes()).unwrap().rules.len(), most + 3);
    let mut world = World::with(&ruled(most));
    let all = |value: u32, from: usize| {
        move |tree: &mut Tree| {
            for number in from..most {
                tree.insert(path(&format!("apps/{number}/a.yaml")), config_map("a", value).into_bytes());
            }
        }
    };
    let step = world.push(world.introduction, Some("bob"), all(1, 0));
    assert_eq!(world.code(step), "ok");
    let uncovered =
        world.push(step, Some("bob"), |tree| _ = tree.insert(path(&format!("apps/{most}/a.yaml")), Vec::new()));
    assert_eq!(world.code(uncovered), "W302");
}

/// Counts what is looked up.
struct Counting<'a> {
    world: &'a World,
    lookups: Cell<usize>,
}

impl Counting<'_> {
    fn count(&self) -> &memory::Memory {
        self.lookups.set(self.lookups.get() + 1);
        &self.world.memory
    }
}

impl History for Counting<'_> {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.count().commit(id)
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.count().changes(from, to, limit)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        self.count().entry(commit, path)
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        self.count().read(commit, path)
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        self.count().list(commit, folder)
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        self.count().side_commits(mainline, step, limit)
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        self.count().is_ancestor(ancestor, of)
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.count().attestations(commit, tree)
    }
}

/// Code, and how much was looked up.
fn judged(world: &World, start: &Start, head: CommitId) -> (&'static str, usize) {
    let counting = Counting { world, lookups: Cell::new(0) };
    let judgement = judge(&counting, &world.root, start, &head, at(BASE + 86_400));
    (code(&judgement), counting.lookups.get())
}

/// Where side signers stand for what a merge takes over, and all must be signed.
fn transitive() -> World {
    let history = ("history: {ancestry: firstParent}", "history: {ancestry: allSigned, mergeCredit: transitive}");
    World::with(&policy(1, &[history]))
}

#[test]
fn an_octopus_has_as_many_arms_as_a_commit_may_have_parents() {
    let merge = |arms: usize| {
        let mut world = transitive();
        let base = world.introduction;
        let file = |number: usize| format!("apps/{number}.txt");
        let tips: Vec<CommitId> = (0..arms).map(|number| world.put(base, "bob", &file(number), "x")).collect();
        let mut tree = world.memory.tree(&base);
        tree.extend((0..arms).map(|number| (path(&file(number)), b"x".to_vec())));
        // Alice may not change these files; that bob made each of them is looked for arm by arm.
        let merge = world.memory.store(&[&[base], tips.as_slice()].concat(), tree, Some(&person("alice")), BASE + 120);
        judged(&world, &Start::Accepted(base), merge)
    };
    let (verdict, lookups) = merge(MAX_PARENTS - 1);
    assert_eq!(verdict, "ok");
    // Of each arm its commit, its changes and where it parted; of each file half of the arms, four lookups each.
    assert!(lookups < MAX_PARENTS * (8 + MAX_PARENTS / 2 * 4), "{lookups}");
    assert_eq!(merge(MAX_PARENTS).0, "W101");
}

/// Two branches that merge each other again and again; what one new merge costs does not grow with how often that was. Where
/// they parted last is not one place, so who made what is merged does not stand for it: the merger does.
#[test]
fn criss_cross_merges_are_judged_step_by_step() {
    let costs = [5, 40].map(|times| {
        let mut world = transitive();
        let (mut main, mut other) = (world.introduction, world.introduction);
        let mut last = (main, main);
        for number in 0..times {
            let on_main = world.put(main, "carol", "apps/main.txt", &number.to_string());
            let on_other = world.put(other, "bob", "apps/other.txt", &number.to_string());
            let mut tree = world.memory.tree(&on_main);
            tree.insert(path("apps/other.txt"), number.to_string().into_bytes());
            let time = world.memory.time(&on_main).max(world.memory.time(&on_other)) + 60;
            let by_alice = world.memory.store(&[on_main, on_other], tree.clone(), Some(&person("alice")), time);
            main = world.memory.store(&[on_main, on_other], tree.clone(), Some(&person("carol")), time);
            other = world.memory.store(&[on_other, on_main], tree, Some(&person("bob")), time);
            last = (on_main, by_alice);
        }
        assert_eq!(judged(&world, &Start::Introduction, main).0, "ok");
        let (before, by_alice) = last;
        let (by_carol, by_alice) =
            (judged(&world, &Start::Accepted(before), main), judged(&world, &Start::Accepted(before), by_alice));
        assert_eq!((by_carol.0, by_alice.0), ("ok", "W302"));
        (by_carol.1, by_alice.1)
    });
    assert_eq!(costs[0], costs[1]);
}
