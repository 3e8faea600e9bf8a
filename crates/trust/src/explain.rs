//! Why a step is accepted or not, rule by rule: the same judgement, told in full.
//!
//! It decides nothing. Who stands for a change and what a rule asks for is counted by what judges.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use manifest::{Finding, RepoPath};

use crate::{
    Change, CommitId, Credit, Head, History, Judgement, MergeCreditMode, Rule, Start, TrustFile, TrustRootSpec,
    Verifiers, Waivers,
    judge::judge_and_tell,
    merge_credit::MergeCredit,
    step::{Step, authorise_all, is_writ},
};

/// What is told of a step that was judged by rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReasons {
    /// The commit.
    pub commit: CommitId,
    /// The commit before it, whose trust file is what it is judged by.
    pub predecessor: CommitId,
    /// The rules that cover what it changes, in the order of the trust file.
    pub rules: Vec<RuleUse>,
    /// How many of the changed paths no rule covers.
    pub uncovered: usize,
    /// What is told of the path that was asked for, if the step changes it.
    pub path: Option<PathReasons>,
}

/// What a rule says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleUse {
    /// Its name.
    pub rule: String,
    /// How many of the changed paths it covers.
    pub paths: usize,
    /// Whether it holds for all of them.
    pub holds: bool,
    /// The principals who count by it for one of them at least.
    pub by: BTreeSet<String>,
}

/// What is told of one changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathReasons {
    /// What was changed.
    pub change: Change,
    /// Who stands for it, and how.
    pub credit: BTreeMap<String, BTreeSet<Standing>>,
    /// The rules that cover it, all of which must hold.
    pub rules: Vec<RuleReasons>,
    /// Whether it may be changed, which is not all that a step is judged by.
    pub verdict: Result<(), Finding>,
    /// Why other approvals of the step count for nothing.
    pub not_counted: Vec<String>,
}

/// How a principal stands for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Signed the commit.
    Signed,
    /// Approved the step.
    Approved,
    /// Made the change on the branch that the commit merges.
    MergedFrom,
    /// Signed the trust file that the step brings.
    SignedTrustFile,
}

/// What a rule says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReasons {
    /// Its name.
    pub rule: String,
    /// Its alternatives, one of which must be satisfied.
    pub any_of: Vec<AlternativeReasons>,
}

/// What an alternative of a rule says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlternativeReasons {
    /// The role.
    pub role: String,
    /// How many of it are needed.
    pub threshold: u32,
    /// Whether who made the change does not count.
    pub distinct_from_author: bool,
    /// Who counts.
    pub counted: Vec<String>,
    /// Who would, but is a forge, or a machine where people are needed.
    pub excluded: Vec<String>,
}

/// As [`crate::judge_with`], with what is told of every step in the answer that was judged by rules; in full of this path.
#[must_use]
pub fn explain(
    history: &dyn History,
    root: &TrustRootSpec,
    start: &Start,
    head: impl Into<Head>,
    now: Timestamp,
    path: Option<&RepoPath>,
    with: Verifiers<'_>,
) -> (Judgement, Vec<StepReasons>) {
    let told = Told { path, steps: RefCell::default() };
    let judgement = judge_and_tell(history, root, start, head.into(), now, with, Some(&told), &Waivers::default());
    let mut steps = told.steps.into_inner();
    let listed = judgement.steps.iter().filter_map(|step| steps.remove(&step.commit)).collect();
    (judgement, listed)
}

impl RuleReasons {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.any_of.iter().any(AlternativeReasons::is_satisfied)
    }
}

impl AlternativeReasons {
    /// Whether enough count.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        u32::try_from(self.counted.len()).is_ok_and(|count| count >= self.threshold)
    }
}

/// What is told while steps are judged.
pub(crate) struct Told<'a> {
    path: Option<&'a RepoPath>,
    steps: RefCell<BTreeMap<CommitId, StepReasons>>,
}

impl Told<'_> {
    /// Tells of a step that `signer` signed. One that is judged again, with others left out, is told again.
    pub(crate) fn tell(&self, step: &Step<'_>, signer: &str) {
        self.steps.borrow_mut().insert(step.object.id, reasons(step, signer, self.path));
    }
}

/// Who stands for the changes of a step.
struct Voices<'a> {
    signer: &'a str,
    approved: BTreeSet<String>,
    not_counted: Vec<String>,
    /// Who signed the new trust file.
    signed: Option<&'a BTreeSet<String>>,
    merge: Option<MergeCredit<'a>>,
}

impl<'a> Voices<'a> {
    fn of(step: &'a Step<'a>, signer: &'a str, everybody: bool) -> Self {
        let signed = step.brought.as_ref().map(|brought| &brought.signed);
        let mut voices = Self { signer, approved: BTreeSet::new(), not_counted: Vec::new(), signed, merge: None };
        let alone = Credit::of_author(signer);
        if !everybody && authorise_all(step.policy, &step.object.id, &step.changes, &alone, signed).is_ok() {
            return voices;
        }
        let known = OnceCell::new();
        let approvals = step.approvals(&known);
        voices.approved.clone_from(&approvals.good);
        voices.not_counted.clone_from(&approvals.reasons);
        if step.policy.history.merge_credit == MergeCreditMode::Transitive {
            // What cannot be read of the sides is why the step is refused, and told there.
            let sides = step.sides().unwrap_or_default();
            voices.merge = (!sides.is_empty()).then(|| MergeCredit::of(step, &sides).ok()).flatten();
        }
        voices
    }

    fn for_change(&self, change: &Change) -> BTreeMap<String, BTreeSet<Standing>> {
        let mut credit: BTreeMap<String, BTreeSet<Standing>> = BTreeMap::new();
        let mut stands = |name: &str, how| _ = credit.entry(name.to_owned()).or_default().insert(how);
        stands(self.signer, Standing::Signed);
        for name in &self.approved {
            stands(name, Standing::Approved);
        }
        if let Some(name) = self.merge.as_ref().and_then(|merge| merge.of_change(change).ok().flatten()) {
            stands(&name, Standing::MergedFrom);
        }
        for name in self.signed.into_iter().flatten().filter(|_name| is_writ(&change.path)) {
            stands(name, Standing::SignedTrustFile);
        }
        credit
    }
}

fn reasons(step: &Step<'_>, signer: &str, path: Option<&RepoPath>) -> StepReasons {
    let asked = step.changes.iter().find(|change| Some(&change.path) == path);
    let voices = Voices::of(step, signer, asked.is_some());
    let mut used: BTreeMap<&str, RuleUse> = BTreeMap::new();
    let mut uncovered = 0_usize;
    let mut told = None;
    for change in &step.changes {
        let standing = voices.for_change(change);
        let maker = standing.iter().find(|(_name, how)| how.contains(&Standing::MergedFrom)).map(|(name, _how)| name);
        let credit = Credit::of_author(signer).with(standing.keys()).made_by(maker.map(String::as_str));
        let rules = step.policy.rules_for(&change.path);
        uncovered = uncovered.saturating_add(usize::from(rules.is_empty()));
        let rules: Vec<_> =
            rules.into_iter().map(|rule| (rule, of_rule(step.policy, rule, &change.path, &credit))).collect();
        for (rule, reasons) in &rules {
            let using = used.entry(&rule.name).or_insert_with(|| RuleUse {
                rule: rule.name.clone(),
                paths: 0,
                holds: true,
                by: BTreeSet::new(),
            });
            using.paths = using.paths.saturating_add(1);
            using.holds &= reasons.holds();
            using.by.extend(reasons.any_of.iter().flat_map(|item| &item.counted).cloned());
        }
        if asked == Some(change) {
            told = Some(PathReasons {
                change: change.clone(),
                credit: standing,
                rules: rules.into_iter().map(|(_rule, reasons)| reasons).collect(),
                verdict: step.policy.authorise(&step.object.id, &change.path, &credit),
                not_counted: voices.not_counted.clone(),
            });
        }
    }
    let rules = step.policy.rules.iter().filter_map(|rule| used.remove(rule.name.as_str())).collect();
    StepReasons { commit: step.object.id, predecessor: *step.predecessor, rules, uncovered, path: told }
}

fn of_rule(policy: &TrustFile, rule: &Rule, path: &RepoPath, credit: &Credit) -> RuleReasons {
    let any_of = rule.any_of.iter().map(|item| {
        let counted = policy.counted(item, path, credit);
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        AlternativeReasons {
            role: item.role.clone(),
            threshold: item.threshold,
            distinct_from_author: item.distinct_from_author,
            counted: owned(counted.who),
            excluded: owned(counted.excluded),
        }
    });
    RuleReasons { rule: rule.name.clone(), any_of: any_of.collect() }
}
