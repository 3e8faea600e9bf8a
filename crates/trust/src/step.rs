//! One step of the mainline, judged by the policy of its predecessor.

use std::{cell::OnceCell, collections::BTreeSet};

use manifest::{Digest, Finding, RepoPath};

use crate::{
    Ancestry, Change, CommitId, CommitObject, Credit, EXPIRY_GRACE, History, HistoryError, MergeCreditMode, RefBinding,
    Revoked, TrustCode, TrustFile, TrustRootSpec, VerifiedCommit,
    approval::{Approvals, Bound},
    declared_kinds::{Definitions, judge_kinds, over_budget},
    instants::Instants,
    judge::is_waivable,
    merge_credit::MergeCredit,
    ref_binding::{has_trailer, unbound},
    refusal::{mend_signature, refuse, unreadable, unreadable_at},
    repair::{Place, SIGN, amend, in_place, sign_trust_file},
    signature_cache::Verifier,
    trust_file::{SignatureFile, load_certificates, trust_file_path},
    verified::made_at,
};

/// Most paths one commit may change: a repository of 10,000 manifests can be moved as a whole (20,000 names).
pub const MAX_CHANGED_PATHS: usize = 20_000;
/// Most commits one merge may bring along: a long-lived branch; at about 1 ms each, 1 s.
pub const MAX_SIDE_COMMITS: usize = 1_000;

/// A commit of the mainline with its predecessor.
pub(crate) struct Step<'a> {
    pub(crate) history: &'a dyn History,
    pub(crate) root: &'a TrustRootSpec,
    pub(crate) policy: &'a TrustFile,
    pub(crate) predecessor: &'a CommitId,
    pub(crate) object: &'a CommitObject,
    pub(crate) place: Place,
    pub(crate) instants: Instants,
    pub(crate) verifier: Verifier<'a>,
    pub(crate) changes: Vec<Change>,
    /// Refused commits between the predecessor and this one that root principals have left out.
    pub(crate) skipped: &'a [CommitId],
    /// What is known of files of earlier steps.
    pub(crate) definitions: &'a Definitions,
    /// The trust file that the step brings, if it changes it.
    pub(crate) brought: Option<Brought>,
    /// Whether an order waives who must stand for its changes.
    pub(crate) waives: bool,
    /// What was waived.
    pub(crate) waived: OnceCell<Finding>,
    /// What was approved of it, if its signer alone is not enough.
    pub(crate) approved: OnceCell<Approvals>,
}

/// A new trust file with the signatures beside it.
pub(crate) struct Brought {
    pub(crate) file: TrustFile,
    pub(crate) signed: BTreeSet<String>,
}

impl Step<'_> {
    /// Judges everything but the signature of the step itself, which `verified` proves.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn judge(&self, verified: &VerifiedCommit) -> Result<(), Finding> {
        let commit = &self.object.id;
        mixed(commit, self.place, &self.changes)?;
        not_expired(self.policy, &self.instants, commit, &self.changes)?;
        self.stands(&verified.signer().principal)?;
        judge_kinds(self.history, self.policy, self.predecessor, commit, &self.changes, self.definitions)
    }

    /// Whether enough people stand for it: who signed it, who approved it, who made what it merges; unless that is waived.
    pub(crate) fn stands(&self, signer: &str) -> Result<(), Finding> {
        let sides = self.sides()?;
        self.bound_to_ref(&self.approved)?;
        self.waive(self.authorise(&Credit::of_author(signer), &self.approved, &sides))
    }

    /// A refusal that is waived is kept as what was waived.
    fn waive(&self, verdict: Result<(), Finding>) -> Result<(), Finding> {
        match verdict {
            Err(finding) if self.waives && is_waivable(&finding) => {
                self.waived.get_or_init(|| finding);
                Ok(())
            }
            other => other,
        }
    }

    /// What it brings along besides itself.
    pub(crate) fn sides(&self) -> Result<Vec<CommitId>, Finding> {
        if self.object.parents.len() > 1 || !self.skipped.is_empty() { self.side_commits() } else { Ok(Vec::new()) }
    }

    /// What was approved of this step; read only if it decides something.
    pub(crate) fn approvals<'c>(&self, known: &'c OnceCell<Approvals>) -> &'c Approvals {
        known.get_or_init(|| {
            let bound = Bound {
                root: self.root,
                policy: self.policy,
                predecessor: self.predecessor,
                object: self.object,
                instants: &self.instants,
                verifier: self.verifier,
                withdrawn: None,
            };
            Approvals::of(self.history, &bound)
        })
    }

    /// W404 unless the commit says, as the policy demands, which ref it is for.
    fn bound_to_ref(&self, approvals: &OnceCell<Approvals>) -> Result<(), Finding> {
        let binding = self.policy.history.ref_binding;
        let bound = match binding {
            RefBinding::None => true,
            RefBinding::Trailer => has_trailer(self.object, self.root),
            RefBinding::Attestation => {
                has_trailer(self.object, self.root)
                    || self.approvals(approvals).good.iter().any(|name| !self.policy.is_machine(name))
            }
        };
        if bound { Ok(()) } else { Err(unbound(self.object, self.root, binding, self.place)) }
    }

    /// Every changed path by who signed; where that is not enough, also by who approved, and by who made what a merge
    /// brings.
    fn authorise(&self, signer: &Credit, approvals: &OnceCell<Approvals>, sides: &[CommitId]) -> Result<(), Finding> {
        let commit = &self.object.id;
        let signed = self.brought.as_ref().map(|brought| &brought.signed);
        let Err(alone) = authorise_all(self.policy, commit, &self.changes, signer, signed) else { return Ok(()) };
        let approvals = self.approvals(approvals);
        let merge = match self.policy.history.merge_credit {
            MergeCreditMode::Transitive if !sides.is_empty() => Some(MergeCredit::of(self, sides)?),
            MergeCreditMode::Transitive | MergeCreditMode::MergerOnly => None,
        };
        let with = |approved: &BTreeSet<String>| {
            let together = signer.with(approved);
            for change in &self.changes {
                let side = match &merge {
                    Some(merge) => merge.of_change(change)?,
                    None => None,
                };
                authorise_all(
                    self.policy,
                    commit,
                    std::slice::from_ref(change),
                    &together.made_by(side.as_deref()),
                    signed,
                )?;
            }
            Ok(())
        };
        let finding = match with(&approvals.good) {
            Ok(()) => return Ok(()),
            Err(finding) if approvals.reasons.is_empty() => return Err(finding),
            Err(finding) => finding,
        };
        // With what was approved for something else it would be enough: that is what is wrong.
        let code = match with(&approvals.good.union(&approvals.other).cloned().collect()) {
            Ok(()) => TrustCode::W307.entry(),
            Err(_) => alone.code,
        };
        let found = format!("{}; {}", finding.found, approvals.told());
        Err(Finding { code, found: found.into(), ..finding })
    }

    /// The commits a merge brings along: always read strictly; with `allSigned` each is judged by the policy of the
    /// mainline, not by the policy of its own parents.
    fn side_commits(&self) -> Result<Vec<CommitId>, Finding> {
        let commit = &self.object.id;
        let sides = self
            .history
            .side_commits(self.predecessor, commit, MAX_SIDE_COMMITS)
            .map_err(|error| unreadable(commit, &error))?;
        if sides.len() > MAX_SIDE_COMMITS {
            return Err(over_budget(commit, "commits in one merge", MAX_SIDE_COMMITS));
        }
        let sides: Vec<CommitId> = sides.into_iter().filter(|side| !self.skipped.contains(side)).collect();
        for side in &sides {
            let object = read_commit(self.history, side)?;
            payload_in_force(&object, self.policy)?;
            if self.policy.history.ancestry == Ancestry::AllSigned {
                let side = self.side_commit(&object).map_err(|finding| Finding {
                    needed: format!("{} (history.ancestry is allSigned)", finding.needed).into(),
                    ..finding
                });
                self.waive(side)?;
            }
        }
        Ok(sides)
    }

    /// One that a merge brings along: its signer must be one whose word counts for each of its paths. Whether enough
    /// stand for what comes of it is asked of the merge.
    fn side_commit(&self, object: &CommitObject) -> Result<(), Finding> {
        let instants = self.instants.of_brought(made_at(object)?);
        let verified = VerifiedCommit::verify(object, self.policy, &instants, self.verifier).map_err(|finding| {
            let formats = self.policy.formats(None);
            let finding = mend_signature(finding, &formats, object, object.parents.first(), Place::Below);
            Finding { fix: format!("on the side branch: {}", finding.fix).into(), ..finding }
        })?;
        let changes = changes(self.history, object.parents.first(), &object.id, Place::Below)?;
        let signer = Credit::of_author(&verified.signer().principal);
        let trust = trust_file_path();
        let signed = match changes.iter().find(|change| change.path == trust) {
            Some(change) if change.after.is_some() => {
                let bytes = read_trust_file(self.history, &object.id)?;
                let files = SignatureFile::all(self.history, &object.id)?;
                Some(self.policy.signed_by(&bytes, &files, &instants, self.verifier).good)
            }
            _ => None,
        };
        let credit = signer.with(signed.iter().flatten());
        for change in &changes {
            let credit = if is_writ(&change.path) { &credit } else { &signer };
            self.policy.contributes(&object.id, &change.path, credit)?;
        }
        Ok(())
    }
}

impl Brought {
    /// Reads and judges the trust file that a step brings, if it changes it: form, TrustRoot, version, revocations,
    /// and the signatures that the rules for it ask for, of the predecessor and of the file itself. `author` signed the
    /// step.
    #[expect(clippy::too_many_arguments, reason = "what a step is judged by, each of another kind")]
    pub(crate) fn by(
        history: &dyn History,
        root: &TrustRootSpec,
        policy: &TrustFile,
        object: &CommitObject,
        place: Place,
        instants: &Instants,
        verifier: Verifier<'_>,
        changes: &[Change],
        author: &str,
    ) -> Result<Option<Self>, Finding> {
        let trust = trust_file_path();
        let Some(change) = changes.iter().find(|change| change.path == trust) else {
            return policy.keeps_certificates(changes).map(|()| None);
        };
        let bytes = match change.after {
            Some(_) => read_trust_file(history, &object.id)?,
            None => {
                let restore = format!("git checkout HEAD~1 -- .writ && {}", amend());
                return Err(missing(&object.id, in_place(&restore, &object.id, place)));
            }
        };
        if Digest::of(&bytes) == policy.digest() {
            return policy.keeps_certificates(changes).map(|()| None);
        }
        let mut file = TrustFile::parse(&bytes).map_err(joined)?;
        load_certificates(history, &object.id, &mut file)?;
        let mut findings = file.against_root(root);
        findings.extend(file.against_predecessor(policy));
        findings.extend(file.out_of_reach(instants.latest()));
        if !findings.is_empty() {
            return Err(joined(findings));
        }
        let before = object.parents.first().unwrap_or(&object.id);
        file.unknown_ends(|end| history.is_ancestor(end, before).map_err(|error| unreadable(&object.id, &error)))?;
        let files = SignatureFile::all(history, &object.id)?;
        let sealed = Sealed { bytes: &bytes, files: &files, author: Some(author), verifier };
        let signed = sealed.vouched(policy, "the policy before it", instants, &object.id, place)?;
        sealed.vouched(&file, "its own rules", instants, &object.id, place)?;
        Ok(Some(Self { file, signed }))
    }
}

/// A trust file with its signatures.
pub(crate) struct Sealed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) files: &'a [SignatureFile],
    /// Who signed the commit that brings it; nobody's signature is left out for the introduction.
    pub(crate) author: Option<&'a str>,
    pub(crate) verifier: Verifier<'a>,
}

impl Sealed<'_> {
    /// The principals of `judge` that signed it; W504 unless they are those whom its rules for that path ask for.
    pub(crate) fn vouched(
        &self,
        judge: &TrustFile,
        whose: &str,
        instants: &Instants,
        commit: &CommitId,
        place: Place,
    ) -> Result<BTreeSet<String>, Finding> {
        let signed = judge.signed_by(self.bytes, self.files, instants, self.verifier);
        let credit = Credit::by(self.author, signed.good.iter().cloned());
        judge.authorise(commit, &trust_file_path(), &credit).map_err(|finding| {
            let good: Vec<&str> = signed.good.iter().map(String::as_str).collect();
            let mut found = format!("by {whose} the signatures of [{}] are not enough", good.join(", "));
            for reason in &signed.bad {
                found = format!("{found}; {reason}");
            }
            let fix = sign_trust_file(&judge.root_formats(instants.latest()), commit, place);
            Finding { code: TrustCode::W504.entry(), found: found.into(), fix: fix.into(), ..finding }
        })?;
        Ok(signed.good)
    }
}

/// Every changed path must be covered and all its rules must hold. Signatures over a new trust file count for `.writ/`.
pub(crate) fn authorise_all(
    policy: &TrustFile,
    commit: &CommitId,
    changes: &[Change],
    signer: &Credit,
    signed: Option<&BTreeSet<String>>,
) -> Result<(), Finding> {
    let with_signatures = signer.with(signed.into_iter().flatten());
    for change in changes {
        let credit = if is_writ(&change.path) { &with_signatures } else { signer };
        policy.authorise(commit, &change.path, credit)?;
    }
    Ok(())
}

/// W508: after `expires` and a grace only `.writ/` may change.
pub(crate) fn not_expired(
    policy: &TrustFile,
    instants: &Instants,
    commit: &CommitId,
    changes: &[Change],
) -> Result<(), Finding> {
    let Some(other) = changes.iter().map(|change| &change.path).find(|path| !is_writ(path)) else {
        return Ok(());
    };
    let expires = policy.expires;
    let end = expires.checked_add(EXPIRY_GRACE).unwrap_or(jiff::Timestamp::MAX);
    if instants.latest() <= end {
        return Ok(());
    }
    let found = format!("{other} changed {}, the trust file expired {expires}", instants.latest());
    let needed = "a trust file that has not expired; until then only .writ/ may change".to_owned();
    let fix = "renew expires in .writ/trust.yaml, raise version, have it signed, and commit it alone".to_owned();
    Err(refuse(TrustCode::W508, commit, found, needed, fix))
}

/// W308: policies and waivers change in steps of their own, so that no commit brings its own permission.
fn mixed(commit: &CommitId, place: Place, changes: &[Change]) -> Result<(), Finding> {
    let is_permission = |path: &RepoPath| matches!(path.segments().next(), Some("policies" | "waivers"));
    let find = |wanted: bool| changes.iter().map(|change| &change.path).find(|path| is_permission(path) == wanted);
    let (Some(permission), Some(other)) = (find(true), find(false)) else { return Ok(()) };
    let found = format!("{permission} and {other} in one step");
    let needed = "policies and waivers in steps of their own".to_owned();
    let folders: BTreeSet<&str> = changes
        .iter()
        .filter(|change| is_permission(&change.path))
        .filter_map(|change| change.path.segments().next())
        .collect();
    let folders = folders.into_iter().collect::<Vec<_>>().join(" ");
    let sign = format!("git {SIGN} commit --gpg-sign -m");
    let split = format!("git reset --soft HEAD~1 && {sign} '{folders}' -- {folders} && {sign} 'the rest'");
    let fix = in_place(&split, commit, place);
    Err(refuse(TrustCode::W308, commit, found, needed, fix))
}

pub(crate) fn is_writ(path: &RepoPath) -> bool {
    path.segments().next() == Some(".writ")
}

/// W304 if the signed bytes are revoked, whatever object carries them.
pub(crate) fn payload_in_force(object: &CommitObject, policy: &TrustFile) -> Result<(), Finding> {
    let Some(reason) = policy.revoked.get(&Revoked::Payload(object.payload_sha256)) else { return Ok(()) };
    let found = format!("its content (sha256 {}) is revoked ({reason})", object.payload_sha256);
    let fix = "make the change in another way".to_owned();
    Err(refuse(TrustCode::W304, &object.id, found, "content that is not revoked".to_owned(), fix))
}

/// The changes between two commits, within the limit.
pub(crate) fn changes(
    history: &dyn History,
    from: Option<&CommitId>,
    to: &CommitId,
    place: Place,
) -> Result<Vec<Change>, Finding> {
    history.changes(from, to, MAX_CHANGED_PATHS).map_err(|error| unreadable_at(to, place, &error))
}

/// A commit of the history, read strictly; W403 if it is not there.
pub(crate) fn read_commit(history: &dyn History, id: &CommitId) -> Result<CommitObject, Finding> {
    let raw = history.commit(id).map_err(|error| unreadable(id, &error))?;
    let raw = raw.ok_or_else(|| unreadable(id, &HistoryError::Missing { object: format!("commit {id}") }))?;
    CommitObject::parse(*id, &raw)
}

/// SHA-256 of what was signed; of the whole body of a commit that does not parse; nothing if it is not there.
pub(crate) fn payload(history: &dyn History, commit: &CommitId) -> Result<Option<Digest>, HistoryError> {
    let raw = history.commit(commit)?;
    let parsed = |raw: Vec<u8>| {
        CommitObject::parse(*commit, &raw).map_or_else(|_finding| Digest::of(&raw), |object| object.payload_sha256)
    };
    Ok(raw.map(parsed))
}

/// The trust file in the tree of a commit; W501 if there is none.
pub(crate) fn read_trust_file(history: &dyn History, commit: &CommitId) -> Result<Vec<u8>, Finding> {
    let bytes = history.read(commit, &trust_file_path()).map_err(|error| unreadable(commit, &error))?;
    bytes.ok_or_else(|| {
        let fix =
            "start from a commit that has one: writ trust init makes it, writ trust root REV prints the TrustRoot";
        missing(commit, fix.to_owned())
    })
}

fn missing(commit: &CommitId, fix: String) -> Finding {
    refuse(TrustCode::W501, commit, "no .writ/trust.yaml".to_owned(), "a trust file".to_owned(), fix)
}

/// Several mistakes of one file as one finding: the first, with all others in its text.
pub(crate) fn joined(findings: Vec<Finding>) -> Finding {
    let mut findings = findings.into_iter();
    let Some(first) = findings.next() else {
        return Finding {
            code: TrustCode::W502.entry(),
            subject: manifest::Subject::Path { path: trust_file_path(), line: None, column: None },
            rule: None,
            found: "refused".into(),
            needed: "a trust file that parses".into(),
            fix: "edit .writ/trust.yaml".into(),
        };
    };
    let found = findings.fold(first.found.clone(), |text, next| {
        format!("{text}; also {} {}: {}", next.code.code, next.subject, next.found).into()
    });
    Finding { found, ..first }
}
