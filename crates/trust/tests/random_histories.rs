//! Random histories against a model that knows nothing of how judging works.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use std::collections::{BTreeMap, BTreeSet};

use memory::{Tree, World, path, person, policy};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use trust::{Approval, CommitId, Decision, Judgement, NAMESPACE_APPROVAL, Start, envelope, envelope_message};

/// Who acts. Nobody knows mallory; `None` does not sign.
const WHO: [Option<&str>; 8] =
    [Some("alice"), Some("bob"), Some("carol"), Some("frank"), Some("dave"), Some("relbot"), Some("mallory"), None];
/// Nobody may write the last one.
const FILES: [&str; 4] = ["apps/a.txt", "apps/b.txt", "policies/p.txt", "other/o.txt"];

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Act {
    /// Writes a file on the mainline or on the side branch. On the mainline these approve it, and it mends what is refused
    /// before it, if some have that left out; if it is refused itself it may stay.
    Put { side: bool, who: usize, file: usize, value: u8, approvers: usize, leaving_out: usize, stays: bool },
    /// Merges one into the other: as git would, but for one file of `apps/` and perhaps for another one.
    Merge { into_side: bool, who: usize, keep: [Keep; 2], other: usize },
    /// Begins the side branch anew from the mainline.
    Branch,
    /// A new trust file on the mainline, signed by some, which names these people as SREs.
    Trust { who: usize, signers: usize, sre: usize, skip: bool },
}

/// Who approves a change, and of most nobody does.
const APPROVERS: [&[&str]; 6] = [&[], &["bob"], &["carol", "frank"], &["alice"], &["dave"], &["mallory"]];
/// How many refused commits follow each other at most.
const STUCK: usize = 3;

/// Who signs a trust file, or has refused commits left out, and who is an SRE by one.
const SIGNERS: [&[&str]; 4] = [&["alice", "dave"], &["alice"], &["dave"], &[]];
const SRE: [&[&str]; 3] = [&["bob", "carol"], &["carol"], &["bob", "dave"]];

fn act() -> impl Strategy<Value = Act> {
    // Mostly those who may, and what two may write.
    let who = || prop::sample::select(vec![0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7]);
    let file = prop::sample::select(vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 3]);
    let keep =
        prop::sample::select(vec![Keep::Clean, Keep::Clean, Keep::Clean, Keep::Theirs, Keep::Ours, Keep::MadeUp]);
    let approvers = prop::sample::select(vec![0, 0, 0, 0, 1, 2, 3, 4, 5]);
    prop_oneof![
        8 => (any::<bool>(), who(), file, 0_u8..3, approvers, prop::sample::select(vec![0, 0, 0, 1, 3]), any::<bool>())
            .prop_map(|(side, who, file, value, approvers, leaving_out, stays)| {
                Act::Put { side, who, file, value, approvers, leaving_out, stays }
            }),
        4 => (prop::bool::weighted(0.3), who(), [keep.clone(), keep], 0..FILES.len())
            .prop_map(|(into_side, who, keep, other)| Act::Merge { into_side, who, keep, other }),
        1 => Just(Act::Branch),
        1 => (who(), 0..SIGNERS.len(), 0..SRE.len(), prop::bool::weighted(0.1))
            .prop_map(|(who, signers, sre, skip)| Act::Trust { who, signers, sre, skip }),
    ]
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
    /// The accepted steps from the introduction on.
    chain: Vec<CommitId>,
    /// The refused commits that follow, and stay in the branch.
    stuck: Vec<CommitId>,
    /// What those follow that had others left out.
    follows: BTreeMap<CommitId, CommitId>,
    side: CommitId,
    history: &'static str,
}

impl Model {
    fn new(history: &'static str) -> Self {
        let world = World::with(&trust_file(history, 1, 0));
        let first = world.introduction;
        let tree = world.memory.tree(&first);
        let known = Known { trust: Some((1, 0, 0)), ..Known::new(Vec::new(), tree, Some("alice")) };
        let (known, chain) = (BTreeMap::from([(first, known)]), vec![first]);
        Self { world, known, chain, stuck: Vec::new(), follows: BTreeMap::new(), side: first, history }
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

    fn store(&mut self, side: bool, known: Known) {
        let time = known.parents.iter().map(|parent| self.world.memory.time(parent)).max().unwrap() + 60;
        let signer = known.who.map(person);
        let id = self.world.memory.store(&known.parents, known.tree.clone(), signer.as_ref(), time);
        self.known.insert(id, known);
        if side {
            self.side = id;
            return;
        }
        self.attest(id);
        self.chain.push(id);
    }

    /// Puts what is said of a commit beside it.
    fn attest(&mut self, id: CommitId) {
        let from = self.main();
        let policy_version = self.in_force(from).0;
        let approval = Approval { from, policy_version, ..self.world.approval(id) };
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
    fn settle(&mut self, step: CommitId, before: CommitId, is_accepted: bool, stays: bool) {
        if is_accepted {
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

    fn act(&mut self, number: usize, act: &Act) {
        let main = self.main();
        match act {
            Act::Put { side, who, file, value, approvers, leaving_out, .. } => {
                // What mends refused commits is what they made of the last good one undone.
                let (parent, of) = if *side { (self.side, self.side) } else { (self.tip(), main) };
                let mut tree = self.known[&of].tree.clone();
                tree.insert(path(FILES[*file]), format!("{value}").into_bytes());
                let mut known = Known::new(vec![parent], tree, WHO[*who]);
                if !side {
                    (known.approvers, known.leaving_out) = (APPROVERS[*approvers], SIGNERS[*leaving_out]);
                }
                self.store(*side, known);
            }
            Act::Merge { into_side, who, keep, other } => {
                if !into_side {
                    self.stuck.clear();
                }
                let (into, from) = if *into_side { (self.side, main) } else { (main, self.side) };
                let (mut tree, theirs) = (self.known[&into].tree.clone(), self.known[&from].tree.clone());
                let base = self.partings(into, from).first().map(|base| self.known[base].tree.clone());
                let base = base.unwrap_or_default();
                for (at, name) in FILES.iter().enumerate() {
                    let file = path(name);
                    let keep = if at == 0 {
                        keep[0]
                    } else if at == *other {
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
                self.store(*into_side, Known::new(vec![into, from], tree, WHO[*who]));
            }
            Act::Branch => self.side = main,
            Act::Trust { who, signers, sre, skip } => {
                self.stuck.clear();
                let version = self.in_force(main).0 + if *skip { 2 } else { 1 };
                let mut tree = self.known[&main].tree.clone();
                memory::put_policy(&mut tree, &trust_file(self.history, version, *sre), SIGNERS[*signers]);
                let trust = Some((version, *signers, *sre));
                self.store(false, Known { trust, ..Known::new(vec![main], tree, WHO[*who]) });
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

    /// Everybody who can be said to stand for what a step makes of a file: who signed it, who approved it; and where merges carry credit, whoever
    /// made exactly that of it on the side, unless the mainline changed it since the two parted.
    fn credit(&self, before: CommitId, step: CommitId, file: &str) -> BTreeSet<&'static str> {
        let file = path(file);
        let known = &self.known[&step];
        let mut credit: BTreeSet<_> = known.who.into_iter().chain(known.approvers.iter().copied()).collect();
        if !self.history.contains("transitive") {
            return credit;
        }
        let (mainline, value) = (self.reachable(before), known.tree.get(&file));
        for side in known.parents.iter().skip(1) {
            let unchanged = |one: &CommitId| self.known[one].tree.get(&file) == self.known[&before].tree.get(&file);
            if !self.partings(before, *side).iter().all(unchanged) {
                continue;
            }
            let theirs = self.reachable(*side);
            for made in theirs.difference(&mainline).map(|id| &self.known[id]) {
                let had = made.parents.iter().any(|parent| self.known[parent].tree.get(&file) == value);
                if made.tree.get(&file) == value && !had {
                    credit.extend(made.who);
                }
            }
        }
        credit
    }

    /// Whether all that a step changes has credit by the rules of the trust file before it.
    fn credited(&self, before: CommitId, step: CommitId) -> Result<(), String> {
        let (version, sre) = self.in_force(before);
        let known = &self.known[&step];
        known.who.filter(|who| *who != "mallory").ok_or("signed by nobody who is known")?;
        if !self.stuck.is_empty() && known.leaving_out.len() < 2 {
            return Err(format!("left out by {:?}", known.leaving_out));
        }
        if self.history.contains("allSigned") {
            let sides = self.reachable(step);
            let left_out = self.stuck.iter().copied();
            for side in sides.difference(&self.reachable(before).into_iter().chain(left_out).collect()) {
                self.known[side].who.filter(|who| *who != "mallory").ok_or("a side commit of nobody")?;
            }
        }
        for (file, allowed) in FILES.iter().zip([SRE[sre], SRE[sre], &["alice", "frank"], &[]]) {
            if self.known[&before].tree.get(&path(file)) == known.tree.get(&path(file)) {
                continue;
            }
            let robots: &[&str] = if file.starts_with("apps/") { &["relbot"] } else { &[] };
            let credit = self.credit(before, step, file);
            if !credit.iter().any(|who| allowed.contains(who) || robots.contains(who)) {
                return Err(format!("{file} by {credit:?}"));
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
}

fn trust_file(history: &str, version: u64, sre: usize) -> String {
    let sre = format!("sre: [{}]", SRE[sre].join(", "));
    policy(version, &[("history: {ancestry: firstParent}", history), ("sre: [bob, carol]", &sre)])
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
    fn accepted_changes_had_credit(acts in prop::collection::vec(act(), 1..32), history in history()) {
        let mut model = Model::new(history);
        let mut refused = None;
        for (number, act) in acts.iter().enumerate() {
            let before = model.main();
            model.act(number, act);
            let step = model.main();
            if step == before {
                continue;
            }
            let verdict = verdicts(&model.world.judge(&Start::Accepted(before), step)).pop().unwrap().1;
            let credited = model.credited(before, step);
            if verdict.is_ok() {
                prop_assert!(credited.is_ok(), "accepted: {credited:?}");
            } else if model.known[&step].parents.len() == 1 {
                prop_assert!(credited.is_err(), "refused with {verdict:?}");
            }
            refused = verdict.is_err().then_some(step);
            model.settle(step, before, verdict.is_ok(), matches!(act, Act::Put { stays: true, .. }));
        }
        let good = model.chain.len() - 1;
        let main = model.main();
        let refused = refused.filter(|refused| model.known[refused].parents[0] == main);
        let head = model.stuck.last().copied().or(refused).unwrap_or(main);
        model.stuck.clear();
        let all = verdicts(&model.world.judge(&Start::Introduction, head));
        prop_assert_eq!(all.iter().filter(|(_, verdict)| verdict.is_ok()).count(), good);
        for (at, start) in model.chain.iter().enumerate().take(good + 1) {
            let first = model.world.judge(&Start::Introduction, *start);
            prop_assert_eq!(&verdicts(&first), &all[..at], "up to {}", at);
            for start in [Start::Accepted(*start), Start::Resumed(first.accepted().unwrap().clone())] {
                prop_assert_eq!(&verdicts(&model.world.judge(&start, head)), &all[at..], "from {} on", at);
            }
        }
    }
}
