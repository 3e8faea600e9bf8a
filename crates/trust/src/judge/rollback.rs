//! A rollback: whether those who signed it may have the folder of a Sync as it was.
//!
//! It takes what a commit would take that restores the folder on top of what is accepted: every rule for every file that
//! differs, kinds and thresholds, by the trust file and the revocations in force now. Nothing that was revoked since comes
//! back by it.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use jiff::Timestamp;
use manifest::{Digest, Finding, RepoPath};

use super::{Judge, State, Waivers};
use crate::{
    Change, CommitId, CommitObject, Credit, History, ObeyedOrder, Seen, SignedOrder, Start, TrustCode, TrustFile,
    TrustRootSpec, Verifiers,
    declared_kinds::judge_kinds,
    detached::Keys,
    instants::Instants,
    issuers::Issuers,
    refusal::{refuse, unreadable},
    rules::people_only,
    signed_by::SignedBy,
    signed_order::Signers,
    step::{MAX_CHANGED_PATHS, authorise_all, is_writ, joined, not_expired, payload_in_force, read_commit},
    still_holds::{Ends, Looked, Made, StillHolds, ends as ends_of},
    verified::made_at,
};

/// What is asked about a rollback.
#[derive(Debug, Clone, Copy)]
pub struct Rollback<'a> {
    /// What was signed.
    pub order: &'a SignedOrder,
    /// The armoured signatures.
    pub signatures: &'a [String],
    /// Namespace and name of the Sync.
    pub sync: &'a str,
    /// Its folder.
    pub folder: &'a RepoPath,
    /// The revision whose trust file is in force.
    pub verified: &'a CommitId,
    /// The newest revision that the Sync accepted.
    pub accepted: &'a CommitId,
    /// The revision that the Sync is held to now: another one after an earlier rollback.
    pub in_force: &'a CommitId,
    /// When it was seen.
    pub seen: Seen,
    /// What orders let through.
    pub waivers: &'a Waivers,
}

/// An order that somebody signed, and what it is judged by.
struct Signed {
    object: CommitObject,
    in_force: State,
    signers: Signers,
}

/// Judges a rollback. That its commit was accepted by the Sync is for the caller to prove.
///
/// # Errors
/// As [`rollback_signers`] · W703 there is nothing to go back to · W304 the commit, or what is still of it, is revoked ·
/// W302, W303, W306 who signed it may not change what differs · W305 kinds · W508.
pub fn judge_rollback(
    history: &dyn History,
    root: &TrustRootSpec,
    rollback: &Rollback<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    let judge = judging(history, root, &rollback.order.commit, rollback.seen.now, with);
    Judge { waivers: rollback.waivers, ..judge }.rollback(rollback)
}

/// Who signed a rollback with a key in force. Anybody may write an order: this is what tells cheaply that it is none.
///
/// # Errors
/// W703 it is about something else, too early or over · W302 nobody signed it. Neither passes while trust stays as it is. An order
/// that was signed before the window of its key began is made anew, as a commit is.
pub fn rollback_signers(
    history: &dyn History,
    root: &TrustRootSpec,
    rollback: &Rollback<'_>,
    with: Verifiers<'_>,
) -> Result<BTreeSet<String>, Finding> {
    let judge = judging(history, root, &rollback.order.commit, rollback.seen.now, with);
    judge.signed(rollback).map(|signed| signed.signers.good)
}

/// What a Sync is held to, and by what.
#[derive(Debug, Clone, Copy)]
pub struct HeldTo<'a> {
    /// The commit.
    pub commit: &'a CommitId,
    /// The folder that counts; without it all that the commit holds does.
    pub folder: Option<&'a RepoPath>,
    /// The revision whose trust file is in force.
    pub verified: &'a CommitId,
    /// The order that put it in force, if it was one.
    pub order: Option<ObeyedRollback<'a>>,
    /// What orders let through.
    pub waivers: &'a Waivers,
}

/// An order to take a Sync back that was obeyed.
#[derive(Debug, Clone, Copy)]
pub struct ObeyedRollback<'a> {
    /// The order.
    pub order: &'a ObeyedOrder,
    /// What it was judged against: the newest revision that the Sync had accepted, and the one that it was held to.
    pub instead_of: [&'a CommitId; 2],
}

/// Whether what a Sync is held to still holds by the revocations in force, and its order still stands.
///
/// # Errors
/// W304 the commit, or what is still of it, is revoked, or too few are left who signed the order.
pub fn held_to(
    history: &dyn History,
    root: &TrustRootSpec,
    held: &HeldTo<'_>,
    now: Timestamp,
    with: Verifiers<'_>,
) -> Result<(), Finding> {
    let judge = Judge { waivers: held.waivers, ..judging(history, root, held.commit, now, with) };
    let in_force = judge.in_force(held.verified)?;
    let line = judge.mainline(&in_force, held.commit)?;
    judge.holds_by(&read_commit(history, held.commit)?, held.folder, &in_force, &line)?;
    match &held.order {
        Some(obeyed) => judge.still_ordered(obeyed, held.folder, &in_force, &line),
        None => Ok(()),
    }
}

/// The way to what is verified.
struct Mainline {
    /// The accepted steps, oldest first.
    steps: Vec<Arc<Made>>,
    /// How many of them are before the introduction.
    before: usize,
    ends: Ends,
    issuers: Issuers,
}

/// What is in force says what is revoked, over the whole mainline.
fn judging<'a>(
    history: &'a dyn History,
    root: &'a TrustRootSpec,
    head: &CommitId,
    now: Timestamp,
    with: Verifiers<'a>,
) -> Judge<'a> {
    // What was looked through is about another line of commits.
    Judge { known: None, ..Judge::new(history, root, &Start::Introduction, now, head.into(), with) }
}

impl Judge<'_> {
    fn in_force(&self, verified: &CommitId) -> Result<State, Finding> {
        self.resume(verified, None).map_err(|refused| match refused.verdict {
            Err(finding) => finding,
            Ok(()) => {
                let (found, needed) = ("there is no verdict".to_owned(), "a trust file that can be read".to_owned());
                let fix = "remove the folder of the mirror; it is fetched again".to_owned();
                refuse(TrustCode::W403, verified, found, needed, fix)
            }
        })
    }

    /// The accepted steps from the introduction, or from before it if `target` is older, to what is in force; empty while
    /// nothing is revoked.
    fn mainline(&self, in_force: &State, target: &CommitId) -> Result<Mainline, Finding> {
        let (mut steps, mut before) = (Vec::new(), 0);
        if !in_force.policy.revoked.is_empty() {
            steps = self.accepted_line(in_force.commit)?;
            if !steps.iter().rev().any(|step| step.commit == *target)
                && let Some(earlier) = self.before_introduction(target)?
            {
                before = earlier.len();
                steps.splice(..0, earlier);
            }
        }
        // Who looked through what is in force knows them.
        let looked = self.looked_in_force(in_force);
        let of_steps = steps.iter().take(if looked.is_some() { before } else { steps.len() });
        let mut issuers = looked.map(|looked| looked.issuers.clone()).unwrap_or_default();
        self.add_issuers(&mut issuers, &in_force.policy, of_steps.map(|step| &step.commit))?;
        Ok(Mainline { ends: ends_of(&in_force.policy, &steps), steps, before, issuers })
    }

    /// W304 unless what the folder holds at a commit, and what that commit changed itself, may be rolled out today, and the
    /// policies of today may judge it. A key that was good until an end on the mainline after the commit brought it rightly.
    fn holds_by(
        &self,
        object: &CommitObject,
        folder: Option<&RepoPath>,
        in_force: &State,
        line: &Mainline,
    ) -> Result<(), Finding> {
        let policy = &in_force.policy;
        payload_in_force(object, policy)?;
        if policy.revoked.is_empty() {
            return Ok(());
        }
        let (commit, made) = (object.id, made_at(object)?);
        let target = State { commit, made, policy: Rc::clone(policy), digest: in_force.digest };
        let (place, none) = (line.steps.iter().rposition(|step| step.commit == commit), Ends::new());
        let aside;
        let (steps, ends) = match place.and_then(|place| line.steps.get(..=place)) {
            Some(steps) => (steps, &line.ends),
            // On no line of what is verified there is no end after it that was its own.
            None => {
                aside = self.accepted_line(commit)?;
                (aside.as_slice(), &none)
            }
        };
        // Who vouches for what was made long ago does so now.
        let (judged_by, instants) = (in_force.commit, self.seen_now());
        let asked = |last, steps, ends| StillHolds {
            judged_by,
            instants,
            ..self.asked(last, steps, ends, &self.waivers.before)
        };
        let looked = |asked: &StillHolds<'_>, known: Option<Arc<Looked>>| match known {
            Some(known) => asked.again(&known),
            None => {
                let mut looked = Looked::none(asked.last);
                looked.issuers = line.issuers.clone();
                asked.look(looked)
            }
        };
        let cache = self.verifier.parts().known;
        let question = place.map(|place| self.held_question(&target, place, ends));
        let known = cache.zip(question).and_then(|(cache, question)| cache.held(&question));
        let to_target = asked(&target, steps, ends);
        let found = Arc::new(looked(&to_target, known)?);
        if let Some((cache, question)) = cache.zip(question) {
            cache.keep_held(question, Arc::clone(&found));
        }
        let Some(folder) = folder else { return to_target.verdict(&found) };
        to_target.verdict_on(&found, |path| is_applied(path, folder))?;
        // What is in force was looked through when it was accepted. The introduction stands for all that was before it.
        let since = line.steps.get(line.before..).unwrap_or_default();
        let ends = ends_of(policy, since);
        let in_force_now = asked(in_force, since, &ends);
        in_force_now.verdict_on(&looked(&in_force_now, self.looked_in_force(in_force))?, judges)
    }

    /// What was found when what is in force was accepted, if that is remembered.
    fn looked_in_force(&self, in_force: &State) -> Option<Arc<Looked>> {
        let looked = self.verifier.parts().known?.looked(&in_force.digest)?;
        (looked.last == in_force.commit).then_some(looked)
    }

    /// All that decides what is left of revoked steps at a commit of the line: itself and the trust in force, which soft
    /// revocations end before it and which do not, and for which steps there are orders.
    fn held_question(&self, target: &State, place: usize, ends: &Ends) -> Digest {
        let ended = ends.iter().map(|(after, end)| (after, (*end).min(place).to_be_bytes()));
        let ended: Vec<(&CommitId, [u8; size_of::<usize>()])> = ended.collect();
        let ended = ended.iter().flat_map(|(after, end)| [after.as_bytes(), end.as_slice()]);
        let ordered = self.waivers.before.keys().map(CommitId::as_bytes);
        let of = [target.digest.as_bytes().as_slice(), target.commit.as_bytes(), b"ends"];
        Digest::of_parts(of.into_iter().chain(ended).chain([b"orders".as_slice()]).chain(ordered))
    }

    /// W304 unless enough are left who signed an order that was obeyed. It was made after the commit that it was judged by,
    /// so a key that was good until then only is good no longer.
    fn still_ordered(
        &self,
        obeyed: &ObeyedRollback<'_>,
        folder: Option<&RepoPath>,
        in_force: &State,
        line: &Mainline,
    ) -> Result<(), Finding> {
        let ObeyedRollback { order, instead_of } = obeyed;
        let commit = &order.order.commit;
        let policy = TrustFile::of_commit(self.history, &order.judged_by).map_err(joined)?;
        let place = line.steps.iter().position(|step| step.commit == order.judged_by);
        let place = place.map_or(usize::MAX, |place| place.saturating_add(1));
        let asked = self.asked(in_force, &line.steps, &line.ends, &self.waivers.before);
        let withdrawn = |signed: &SignedBy| asked.withdrawn(place, signed, &line.issuers);
        let signers = order.signers(&policy, self.verifier, Some(&withdrawn));
        let whole = RepoPath::root();
        let mut changes = Vec::new();
        for from in instead_of {
            changes.extend(self.restored(from, commit, folder.unwrap_or(&whole))?);
        }
        let lacks = match authorised_by(&policy, commit, &changes, &signers.good) {
            Ok(()) => return Ok(()),
            Err(Some(finding)) => finding.found,
            Err(None) => "nobody is left who signed it".into(),
        };
        let again = format!("writ rollback {} --to {commit} --reason TEXT", order.order.about);
        let then = " > order.yaml && kubectl apply -f order.yaml # or change its folder by a commit";
        let fix =
            in_force.policy.formats_for(changes.iter().map(|change| &change.path), Some(self.now)).writ(&again, then);
        let needed = "signatures with keys in force of those who may order it".to_owned();
        Err(refuse(TrustCode::W304, commit, order.fallen(&signers, &lacks), needed, fix))
    }

    /// An order does not say when it was made: it is made when it is seen.
    fn seen_now(&self) -> Instants {
        Instants { committer: self.now, first_sight: Some(self.now) }
    }

    fn signed(&self, rollback: &Rollback<'_>) -> Result<Signed, Finding> {
        let order = rollback.order;
        order.bound(&self.root.repo_id, rollback.sync, rollback.seen)?;
        let object = read_commit(self.history, &order.commit)?;
        if object.payload_sha256 != order.payload_sha256 {
            let found = format!("its payload has sha256 {}", object.payload_sha256);
            return Err(order.invalid(found, &format!("sha256 {}, as was signed", order.payload_sha256)));
        }
        let in_force = self.in_force(rollback.verified)?;
        let instants = self.seen_now();
        let keys = Keys { policy: &in_force.policy, instants: &instants, verifier: self.verifier };
        let signers = order.signers(rollback.signatures, keys);
        if signers.good.is_empty() {
            let (found, needed) = ("nobody signed it".to_owned(), "a principal whose key is in force".to_owned());
            let nobody = refuse(TrustCode::W302, &order.commit, found, needed, String::new());
            return Err(order.unauthorised(nobody, &signers, &in_force.policy.formats(Some(self.now))));
        }
        Ok(Signed { object, in_force, signers })
    }

    fn rollback(&self, rollback: &Rollback<'_>) -> Result<BTreeSet<String>, Finding> {
        let Signed { object, in_force, signers } = self.signed(rollback)?;
        let (order, policy) = (rollback.order, &in_force.policy);
        let commit = &order.commit;
        self.is_earlier(rollback)?;
        let mut changes = Vec::new();
        for from in BTreeSet::from([rollback.accepted, rollback.in_force]) {
            let between = self.restored(from, commit, rollback.folder)?;
            judge_kinds(self.history, policy, from, commit, &between, &self.definitions)?;
            changes.extend(between);
        }
        if changes.is_empty() {
            let found = format!("nothing that the Sync applies differs from it below {:?}", rollback.folder.as_str());
            return Err(order.invalid(found, "a commit whose files there differ from those in force"));
        }
        not_expired(policy, &self.seen_now(), commit, &changes)?;
        match authorised_by(policy, commit, &changes, &signers.good) {
            Ok(()) => {}
            Err(Some(finding)) => {
                let formats = policy.formats_for(changes.iter().map(|change| &change.path), Some(self.now));
                return Err(order.unauthorised(finding, &signers, &formats));
            }
            Err(None) => return Err(order.invalid("nobody signed it".to_owned(), "signatures of principals")),
        }
        // Last, since it looks at the whole history: only who may order it has that done.
        self.holds_by(&object, Some(rollback.folder), &in_force, &self.mainline(&in_force, commit)?)?;
        Ok(signers.good)
    }

    /// W703 unless the commit is before what is accepted. What an earlier order put in force may be ordered anew: that order
    /// may stand no longer.
    fn is_earlier(&self, rollback: &Rollback<'_>) -> Result<(), Finding> {
        let (order, accepted) = (rollback.order, rollback.accepted);
        if order.commit == *accepted && rollback.in_force == accepted {
            return Err(order.invalid("it is in force".to_owned(), "a commit that was in force before"));
        }
        let is_ancestor = self.history.is_ancestor(&order.commit, accepted);
        if is_ancestor.map_err(|error| unreadable(&order.commit, &error))? {
            return Ok(());
        }
        Err(order.invalid(format!("it is not in the history of {accepted}"), "a commit that was accepted before that"))
    }

    /// What a commit would change that restores what the Sync applies. Trust, policies and waivers are no Sync's.
    fn restored(&self, from: &CommitId, commit: &CommitId, folder: &RepoPath) -> Result<Vec<Change>, Finding> {
        let changes = self.history.changes_in(Some(from), commit, folder, MAX_CHANGED_PATHS);
        let mut changes = changes.map_err(|error| unreadable(commit, &error))?;
        changes.retain(|change| is_applied(&change.path, folder));
        Ok(changes)
    }
}

/// Whether a Sync of this folder applies what the file declares.
fn is_applied(path: &RepoPath, folder: &RepoPath) -> bool {
    path.starts_with(folder) && !people_only(path)
}

/// Whether the file is one that judges what Syncs apply.
fn judges(path: &RepoPath) -> bool {
    people_only(path) && !is_writ(path)
}

/// Whether these may make the changes together; what the rules say otherwise, and nothing if there is nobody. A commit has an
/// author besides those who approve it, and some rules do not count who that is.
fn authorised_by(
    policy: &TrustFile,
    commit: &CommitId,
    changes: &[Change],
    signers: &BTreeSet<String>,
) -> Result<(), Option<Finding>> {
    let mut refused = None;
    for author in signers {
        let credit = Credit::by(Some(author.as_str()), signers.iter().cloned());
        match authorise_all(policy, commit, changes, &credit, None) {
            Ok(()) => return Ok(()),
            Err(finding) => refused = Some(finding),
        }
    }
    Err(refused)
}
