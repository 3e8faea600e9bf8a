//! Random histories against a model that knows nothing of how judging works.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use std::collections::{BTreeMap, BTreeSet};

use memory::{BASE, Tree, World, at, path, person, policy};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use trust::{
    Approval, AuthorizedCommit, CommitId, Decision, Judgement, NAMESPACE_APPROVAL, SignatureCache, Start, Verifiers,
    envelope, envelope_message, judge_with,
};

/// Who acts. Nobody knows mallory; `None` does not sign.
const WHO: [Option<&str>; 8] =
    [Some("alice"), Some("bob"), Some("carol"), Some("frank"), Some("dave"), Some("relbot"), Some("mallory"), None];
/// Nobody may write the last one; the one before it takes two, of whom none made it.
const FILES: [&str; 5] = ["apps/a.txt", "apps/b.txt", "policies/p.txt", "pair/q.txt", "other/o.txt"];
/// Who may stand for what takes two.
const PAIR: [&str; 3] = ["alice", "carol", "frank"];
/// When the key of bob ends: in the midst of what happens, or after all of it.
const ENDS: [i64; 2] = [BASE + 3_600, BASE + 86_400];
/// By how much a commit may be older than the latest before it, or newer than the clock.
const SKEW: i64 = 300;

/// By how much the clock goes on, and how long before that the commit says that it was made, or after.
type Time = (i64, i64);

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Act {
    /// Writes a file on the mainline or on a side branch. On the mainline these approve it, and it mends what is refused
    /// before it, if some have that left out; if it is refused itself it may stay.
    Put { side: Option<usize>, who: usize, file: usize, value: u8, approvers: usize, leaving_out: usize, stays: bool },
    /// Merges into the mainline or a side branch one or more others, or what was before their newest commits: as git would, but
    /// for one file of `apps/` and perhaps for another one.
    Merge { into: Option<usize>, from: Vec<(usize, usize)>, who: usize, keep: [Keep; 2], other: usize },
    /// Begins a side branch anew from the mainline, so many commits ago.
    Branch { side: usize, ago: usize },
    /// A new trust file on the mainline, signed by some, which names these people as SREs.
    Trust { who: usize, signers: usize, sre: usize, skip: bool },
}

/// Who approves a change, and of most nobody does.
const APPROVERS: [&[&str]; 8] =
    [&[], &["bob"], &["carol", "frank"], &["alice"], &["dave"], &["mallory"], &["alice", "frank"], &["alice", "carol"]];
/// How many refused commits follow each other at most.
const STUCK: usize = 3;

/// Who signs a trust file, or has refused commits left out, and who is an SRE by one.
const SIGNERS: [&[&str]; 4] = [&["alice", "dave"], &["alice"], &["dave"], &[]];
const SRE: [&[&str]; 3] = [&["bob", "carol"], &["carol"], &["bob", "dave"]];

fn act() -> impl Strategy<Value = (Act, Time)> {
    // Mostly those who may, and what two may write.
    let who = || prop::sample::select(vec![0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7]);
    let file = prop::sample::select(vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 4]);
    let keep =
        prop::sample::select(vec![Keep::Clean, Keep::Clean, Keep::Clean, Keep::Theirs, Keep::Ours, Keep::MadeUp]);
    let approvers = prop::sample::select(vec![0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
    let branch = || prop::sample::select(vec![None, None, Some(0), Some(1)]);
    // A place among the mainline and both sides, and how many commits before it; mostly one, sometimes two at once.
    let from = prop::collection::vec((0..3_usize, prop::sample::select(vec![0, 0, 0, 1, 2])), 1..3);
    let act = prop_oneof![
        8 => (branch(), who(), file, 0_u8..3, approvers, prop::sample::select(vec![0, 0, 0, 1, 3]), any::<bool>())
            .prop_map(|(side, who, file, value, approvers, leaving_out, stays)| {
                Act::Put { side, who, file, value, approvers, leaving_out, stays }
            }),
        4 => (branch(), from, prop::sample::select(vec![0, 0, 0, 3, 3, 4, 4, 1, 2, 5]), [keep.clone(), keep], 0..FILES.len())
            .prop_map(|(into, from, who, keep, other)| Act::Merge { into, from, who, keep, other }),
        1 => (0..2_usize, 0..3_usize).prop_map(|(side, ago)| Act::Branch { side, ago }),
        1 => (who(), 0..SIGNERS.len(), 0..SRE.len(), prop::bool::weighted(0.1))
            .prop_map(|(who, signers, sre, skip)| Act::Trust { who, signers, sre, skip }),
    ];
    let passes = prop::sample::select(vec![0, 60, 60, 600, 1_800]);
    let ago = prop::sample::select(vec![0, 0, 0, 0, 0, 0, 120, 200, 290, 400, 20_000, -200, -400]);
    (act, (passes, ago))
}

/// Which value of a file a merge keeps.
#[derive(Debug, Clone, Copy)]
enum Keep {
    /// Theirs if only they changed it, else ours.
    Clean,
    Theirs,
    Ours,
    MadeUp,
}

/// What the model knows of a commit.
#[derive(Clone)]
struct Known {
    parents: Vec<CommitId>,
    tree: Tree,
    who: Option<&'static str>,
    /// For a commit that brings a trust file: its version, who signed it, who is an SRE by it.
    trust: Option<(u64, usize, usize)>,
    /// Who approved it, and who has what is refused before it left out.
    approvers: &'static [&'static str],
    leaving_out: &'static [&'static str],
}

impl Known {
    fn new(parents: Vec<CommitId>, tree: Tree, who: Option<&'static str>) -> Self {
        Self { parents, tree, who, trust: None, approvers: &[], leaving_out: &[] }
    }
}

/// A history, and what the model says of it.
struct Model {
    world: World,
    known: BTreeMap<CommitId, Known>,
    /// The accepted steps from the introduction on, and what came of them.
    chain: Vec<CommitId>,
    accepted: Vec<AuthorizedCommit>,
    /// The refused commits that follow, and stay in the branch.
    stuck: Vec<CommitId>,
    /// What those follow that had others left out.
    follows: BTreeMap<CommitId, CommitId>,
    sides: [CommitId; 2],
    history: &'static str,
    end: i64,
    /// When the commit of now says that it was made, and when it counts as seen.
    made: i64,
    seen: i64,
}

impl Model {
    fn new(history: &'static str, end: i64) -> Self {
        let mut world = World::with(&trust_file(history, end, 1, 0));
        world.now = BASE;
        let first = world.introduction;
        let tree = world.memory.tree(&first);
        let known = Known { trust: Some((1, 0, 0)), ..Known::new(Vec::new(), tree, Some("alice")) };
        let (known, chain) = (BTreeMap::from([(first, known)]), vec![first]);
        let accepted = vec![world.judge(&Start::Introduction, first).accepted().unwrap().clone()];
        let (stuck, follows, sides) = (Vec::new(), BTreeMap::new(), [first; 2]);
        Self { world, known, chain, accepted, stuck, follows, sides, history, end, made: BASE, seen: BASE }
    }

    /// Whether a key is in its time, for what says that it was made then.
    fn is_in_time(&self, who: &str, made: i64) -> bool {
        who != "bob" || (made <= self.end && self.seen <= self.end)
    }

    fn main(&self) -> CommitId {
        *self.chain.last().unwrap()
    }

    /// The newest commit of the branch, refused or not.
    fn tip(&self) -> CommitId {
        *self.stuck.last().unwrap_or(self.chain.last().unwrap())
    }

    /// The trust file in force after a commit of the mainline: version, and who is an SRE.
    fn in_force(&self, at: CommitId) -> (u64, usize) {
        let mut at = at;
        loop {
            let known = &self.known[&at];
            if let Some((version, _signers, sre)) = known.trust {
                return (version, sre);
            }
            at = *self.follows.get(&at).unwrap_or(&known.parents[0]);
        }
    }

    fn store(&mut self, side: Option<usize>, known: Known) {
        let signer = known.who.map(person);
        let id = self.world.memory.store(&known.parents, known.tree.clone(), signer.as_ref(), self.made);
        self.known.insert(id, known);
        if let Some(side) = side {
            self.sides[side] = id;
            return;
        }
        self.attest(id);
        self.chain.push(id);
    }

    /// Puts what is said of a commit beside it.
    fn attest(&mut self, id: CommitId) {
        let from = self.main();
        let policy_version = self.in_force(from).0;
        let expires = at(self.end + 1_000_000);
        let approval = Approval { from, policy_version, expires, ..self.world.approval(id) };
        let skipped = self.stuck.iter().map(|stuck| self.world.memory.payload(stuck)).collect();
        let skip = Approval { decision: Decision::Skip, skipped, ..approval.clone() };
        let known = &self.known[&id];
        let skippers = if self.stuck.is_empty() { &[] } else { known.leaving_out };
        let signed = |approval: &Approval, who: &&str| {
            let payload = approval.payload();
            let signature = person(who).sign(NAMESPACE_APPROVAL, &envelope_message(&payload));
            envelope(&payload, &[(who, &signature)]).into_bytes()
        };
        let approvals = known.approvers.iter().map(|who| signed(&approval, who));
        let notes = approvals.chain(skippers.iter().map(|who| signed(&skip, who))).collect();
        self.world.memory.notes.insert(id, notes);
    }

    /// Takes what was done to the branch for accepted, or for refused. What stays is in the way of what follows.
    fn settle(&mut self, step: CommitId, before: CommitId, accepted: Option<AuthorizedCommit>, stays: bool) {
        if let Some(accepted) = accepted {
            self.accepted.push(accepted);
            self.follows.insert(step, before);
            self.stuck.clear();
        } else {
            self.chain.pop();
            if stays && self.stuck.len() < STUCK {
                self.stuck.push(step);
            } else {
                // As after a force-push.
                self.stuck.clear();
            }
        }
    }

    fn act(&mut self, number: usize, act: &Act, (passes, ago): Time) {
        self.world.now += passes;
        self.made = self.world.now - ago;
        self.seen = self.world.now.max(self.made);
        let main = self.main();
        match act {
            Act::Put { side, who, file, value, approvers, leaving_out, .. } => {
                // What mends refused commits is what they made of the last good one undone.
                let (parent, of) = side.map_or_else(|| (self.tip(), main), |side| (self.sides[side], self.sides[side]));
                let mut tree = self.known[&of].tree.clone();
                tree.insert(path(FILES[*file]), format!("{value}").into_bytes());
                let mut known = Known::new(vec![parent], tree, WHO[*who]);
                if side.is_none() {
                    (known.approvers, known.leaving_out) = (APPROVERS[*approvers], SIGNERS[*leaving_out]);
                }
                self.store(*side, known);
            }
            Act::Merge { into, from, who, keep, other } => {
                if into.is_none() {
                    self.stuck.clear();
                }
                let ours = into.map_or(main, |side| self.sides[side]);
                let mut parents = vec![ours];
                for (place, ago) in from {
                    let theirs = self.before([main, self.sides[0], self.sides[1]][*place], *ago);
                    if !parents.contains(&theirs) {
                        parents.push(theirs);
                    }
                }
                let mut tree = self.known[&ours].tree.clone();
                for theirs in &parents[1..] {
                    self.take(number, &mut tree, (ours, *theirs), *keep, *other);
                }
                self.store(*into, Known::new(parents, tree, WHO[*who]));
            }
            Act::Branch { side, ago } => self.sides[*side] = self.before(main, *ago),
            Act::Trust { who, signers, sre, skip } => {
                self.stuck.clear();
                let version = self.in_force(main).0 + if *skip { 2 } else { 1 };
                let mut tree = self.known[&main].tree.clone();
                memory::put_policy(&mut tree, &trust_file(self.history, self.end, version, *sre), SIGNERS[*signers]);
                let trust = Some((version, *signers, *sre));
                self.store(None, Known { trust, ..Known::new(vec![main], tree, WHO[*who]) });
            }
        }
    }

    /// The commit that was so many before another.
    fn before(&self, of: CommitId, ago: usize) -> CommitId {
        (0..ago).fold(of, |at, _| self.known[&at].parents.first().copied().unwrap_or(at))
    }

    /// What one more parent brings into the tree of a merge.
    fn take(&self, number: usize, tree: &mut Tree, of: (CommitId, CommitId), keep: [Keep; 2], other: usize) {
        let theirs = &self.known[&of.1].tree;
        let base = self.partings(of.0, of.1).first().map(|base| self.known[base].tree.clone());
        let base = base.unwrap_or_default();
        for (at, name) in FILES.iter().enumerate() {
            let file = path(name);
            let keep = if at == 0 {
                keep[0]
            } else if at == other {
                keep[1]
            } else {
                Keep::Clean
            };
            let keep = match keep {
                Keep::Clean if base.get(&file) == tree.get(&file) => Keep::Theirs,
                other => other,
            };
            match keep {
                Keep::Theirs => _ = theirs.get(&file).map(|value| tree.insert(file, value.clone())),
                Keep::MadeUp => _ = tree.insert(file, format!("made up {number}").into_bytes()),
                Keep::Clean | Keep::Ours => {}
            }
        }
    }

    fn reachable(&self, from: CommitId) -> BTreeSet<CommitId> {
        let (mut seen, mut queue) = (BTreeSet::new(), vec![from]);
        while let Some(id) = queue.pop() {
            if seen.insert(id) {
                queue.extend(&self.known[&id].parents);
            }
        }
        seen
    }

    /// The newest commits that both have in their history.
    fn partings(&self, one: CommitId, other: CommitId) -> Vec<CommitId> {
        let (one, other) = (self.reachable(one), self.reachable(other));
        let common: Vec<_> = one.intersection(&other).copied().collect();
        let is_newest = |at: &CommitId| common.iter().all(|other| other == at || !self.reachable(*other).contains(at));
        common.iter().copied().filter(is_newest).collect()
    }

    /// Everybody who made exactly what a step makes of a file on the side, where merges carry credit, unless the mainline changed it
    /// since the two parted. Their keys are in force now.
    fn makers(&self, before: CommitId, step: CommitId, file: &str) -> BTreeSet<&'static str> {
        let file = path(file);
        let known = &self.known[&step];
        let mut makers = BTreeSet::new();
        if !self.history.contains("transitive") {
            return makers;
        }
        let (mainline, value) = (self.reachable(before), known.tree.get(&file));
        for side in known.parents.iter().skip(1) {
            let unchanged = |one: &CommitId| self.known[one].tree.get(&file) == self.known[&before].tree.get(&file);
            if !self.partings(before, *side).iter().all(unchanged) {
                continue;
            }
            let theirs = self.reachable(*side);
            for id in theirs.difference(&mainline) {
                let made = &self.known[id];
                let had = made.parents.iter().any(|parent| self.known[parent].tree.get(&file) == value);
                if made.tree.get(&file) == value && !had {
                    makers.extend(made.who.filter(|who| self.is_in_time(who, self.world.memory.time(id))));
                }
            }
        }
        makers
    }

    /// Whether these may be all that stand for a file: whoever of the authors made it.
    fn is_enough(file: &str, sre: usize, credit: &BTreeSet<&str>, authors: &BTreeSet<&str>) -> bool {
        match file.split('/').next() {
            Some("apps") => credit.iter().any(|who| SRE[sre].contains(who) || *who == "relbot"),
            Some("policies") => credit.iter().any(|who| ["alice", "frank"].contains(who)),
            Some("pair") => authors.iter().any(|author| {
                let others = credit.iter().filter(|who| *who != author && PAIR.contains(who));
                others.count() >= 2
            }),
            _ => false,
        }
    }

    /// Whether all that a step changes has credit by the rules of the trust file before it.
    fn credited(&self, before: CommitId, step: CommitId) -> Result<(), String> {
        let (version, sre) = self.in_force(before);
        let known = &self.known[&step];
        let line = self.chain.iter().filter(|at| **at != step).map(|at| self.world.memory.time(at));
        if self.made < line.max().unwrap() - SKEW || self.made > self.world.now + SKEW {
            return Err(format!("made {} at {}", self.made, self.world.now));
        }
        let is_known = |who: &&str, made: i64| *who != "mallory" && self.is_in_time(who, made);
        let signer = known.who.filter(|who| is_known(who, self.made)).ok_or("signed by nobody who is known")?;
        if !self.stuck.is_empty() && known.leaving_out.len() < 2 {
            return Err(format!("left out by {:?}", known.leaving_out));
        }
        if self.history.contains("allSigned") {
            let sides = self.reachable(step);
            let left_out = self.stuck.iter().copied();
            for side in sides.difference(&self.reachable(before).into_iter().chain(left_out).collect()) {
                let made = self.world.memory.time(side);
                self.known[side].who.filter(|who| is_known(who, made)).ok_or("a side commit of nobody")?;
            }
        }
        let approvers = known.approvers.iter().copied().filter(|who| self.is_in_time(who, self.made));
        let alone: BTreeSet<_> = approvers.chain([signer]).collect();
        for file in FILES {
            if self.known[&before].tree.get(&path(file)) == known.tree.get(&path(file)) {
                continue;
            }
            let makers = self.makers(before, step, file);
            let credit = alone.union(&makers).copied().collect();
            let authors = makers.into_iter().chain([signer]).collect();
            if !Self::is_enough(file, sre, &credit, &authors) {
                return Err(format!("{file} by {credit:?}, made by one of {authors:?}"));
            }
        }
        if let Some((next, signers, _sre)) = known.trust {
            // All signers are of the role root; who made the commit is not asked.
            if SIGNERS[signers].len() < 2 || next != version + 1 {
                return Err(format!("trust file {next} after {version} by {:?}", SIGNERS[signers]));
            }
        }
        Ok(())
    }

    /// What is accepted had credit; and what one did without a merge is accepted if it had.
    fn check(&self, before: CommitId, step: CommitId, verdict: Result<(), &'static str>) -> Result<(), TestCaseError> {
        let credited = self.credited(before, step);
        if verdict.is_ok() {
            prop_assert!(credited.is_ok(), "accepted: {credited:?}");
        } else if self.known[&step].parents.len() == 1 {
            prop_assert!(credited.is_err(), "refused with {verdict:?}");
        }
        Ok(())
    }

    /// The verdicts from a start on, with what other judgements left.
    fn judge(&self, start: &Start, head: CommitId, known: &SignatureCache) -> Judgement {
        let with = Verifiers { known: Some(known), keyless: None };
        judge_with(&self.world.memory, &self.world.root, start, &head, at(self.world.now), with)
    }
}

fn trust_file(history: &str, end: i64, version: u64, sre: usize) -> String {
    let sre = format!("sre: [{}], pair: [{}]", SRE[sre].join(", "), PAIR.join(", "));
    let bob = format!("{{ssh: \"{}\"", person("bob").public());
    let ended = format!("{bob}, notAfter: {}", at(end));
    let pair = "  - {name: pair, paths: [\"pair/**\"], anyOf: [{role: pair, threshold: 2, distinctFromAuthor: true}]}";
    let edits = [
        ("history: {ancestry: firstParent}", &*format!("{pair}\n{history}")),
        ("sre: [bob, carol]", &sre),
        (&bob, &ended),
    ];
    policy(version, &edits)
}

fn verdicts(judgement: &Judgement) -> Vec<(CommitId, Result<(), &'static str>)> {
    let code = |finding: &manifest::Finding| finding.code.code;
    judgement.steps.iter().map(|step| (step.commit, step.verdict.as_ref().map(drop).map_err(code))).collect()
}

fn history() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        1 => Just("history: {ancestry: firstParent}"),
        1 => Just("history: {ancestry: allSigned}"),
        3 => Just("history: {ancestry: firstParent, mergeCredit: transitive}"),
        3 => Just("history: {ancestry: allSigned, mergeCredit: transitive}"),
    ]
}

fn config(cases: u32) -> ProptestConfig {
    let regressions = FileFailurePersistence::Direct("tests/random_histories.regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(regressions)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(192))]

    /// What is accepted had credit, path by path, by the trust file before it; what one person did without a merge is accepted
    /// if it had. And in whatever portions a range is judged, the verdicts are the same.
    #[test]
    fn accepted_changes_had_credit(acts in prop::collection::vec(act(), 1..32), history in history(), end in prop::sample::select(&ENDS[..])) {
        let mut model = Model::new(history, end);
        let (mut refused, cache) = (None, SignatureCache::default());
        for (number, (act, time)) in acts.iter().enumerate() {
            let before = model.main();
            model.act(number, act, *time);
            let step = model.main();
            if step == before {
                continue;
            }
            let start = Start::Resumed(model.accepted.last().unwrap().clone());
            let judgement = model.world.judge(&start, step);
            let verdict = verdicts(&judgement).pop().unwrap().1;
            prop_assert_eq!(verdicts(&model.judge(&start, step, &cache)).pop().unwrap().1, verdict);
            model.check(before, step, verdict)?;
            // Without a floor nobody knows when it was seen but by what it says itself.
            model.seen = model.made;
            let whole = verdicts(&model.judge(&Start::Introduction, step, &cache)).pop().unwrap();
            model.check(before, step, whole.1)?;
            // Whenever it is looked at again.
            let for_good = model.world.now <= end && model.made <= model.world.now;
            refused = (verdict.is_err() && for_good).then_some(step);
            let accepted = judgement.accepted().filter(|_| verdict.is_ok()).cloned();
            let stays = for_good && matches!(act, Act::Put { stays: true, .. });
            model.settle(step, before, accepted, stays);
        }
        let good = model.chain.len() - 1;
        let main = model.main();
        let refused = refused.filter(|refused| model.known[refused].parents[0] == main);
        let head = model.stuck.last().copied().or(refused).unwrap_or(main);
        model.stuck.clear();
        let all = verdicts(&model.world.judge(&Start::Introduction, head));
        prop_assert_eq!(all.iter().filter(|(_, verdict)| verdict.is_ok()).count(), good);
        for (at, accepted) in model.accepted.iter().enumerate() {
            let first = model.judge(&Start::Introduction, accepted.id(), &cache);
            prop_assert_eq!(&verdicts(&first), &all[..at], "up to {}", at);
            prop_assert_eq!(first.accepted(), Some(accepted));
            // A key that has ended since it was accepted does not count above a floor.
            if model.world.now <= end {
                let start = Start::Resumed(accepted.clone());
                prop_assert_eq!(&verdicts(&model.world.judge(&start, head)), &all[at..], "from {} on", at);
                prop_assert_eq!(&verdicts(&model.judge(&start, head, &cache)), &all[at..], "from {} on", at);
            }
        }
    }
}
