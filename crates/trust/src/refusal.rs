//! Findings about commits, and what errors of the object database become: every one is a refusal.

use manifest::{CodeEntry, Finding, Subject};

use crate::{
    BadEntry, CommitId, CommitObject, HistoryError, Judgement, SignatureFormat, StepVerdict, TrustCode, TrustRootSpec,
    approval::{FETCH_APPROVALS, PUSH_APPROVALS},
    repair::{Place, SIGN, amend, git, in_place, push_head},
    signing_formats::SigningFormats,
};

/// A finding about a commit.
pub(crate) fn refuse(code: TrustCode, commit: &CommitId, found: String, needed: String, fix: String) -> Finding {
    refuse_by(code.entry(), commit, found, needed, fix)
}

/// The same with the entry of a code.
pub(crate) fn refuse_by(
    code: &'static CodeEntry,
    commit: &CommitId,
    found: String,
    needed: String,
    fix: String,
) -> Finding {
    Finding {
        code,
        subject: Subject::Commit(commit.to_string()),
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

/// What an error of the object database is for the commit that was being judged.
pub(crate) fn unreadable(commit: &CommitId, error: &HistoryError) -> Finding {
    unreadable_at(commit, Place::Below, error)
}

/// What an error of the object database is for the commit that was being judged, and stands there.
pub(crate) fn unreadable_at(commit: &CommitId, place: Place, error: &HistoryError) -> Finding {
    let budget =
        |needed: &str, fix: &str| refuse(TrustCode::W403, commit, error.to_string(), needed.to_owned(), fix.to_owned());
    match error {
        HistoryError::Missing { .. } => {
            budget("the whole history from the last accepted commit", "fetch it: git fetch --unshallow origin")
        }
        HistoryError::Limit { limit, .. } => budget(&format!("at most {limit}"), "advance in smaller commits or files"),
        HistoryError::Malformed { .. } => budget("objects as git writes them", "git fsck --full # names the commits"),
        HistoryError::Read { .. } => {
            budget("a readable object database", "repair or fetch the repository again: git fsck --full")
        }
        HistoryError::BadEntry { commit, path, reason } => bad_entry(commit, place, path, reason),
    }
}

fn bad_entry(commit: &CommitId, place: Place, path: &str, reason: &BadEntry) -> Finding {
    // At the head the file stays in the folder; below it, it would be in the way of what follows.
    let rm = match place {
        Place::Head => "git rm --cached",
        Place::Below => "git rm",
    };
    let remove = || in_place(&format!("{rm} -- {} && {}", manifest::shell_quote(path), amend()), commit, place);
    let (code, needed, fix) = match reason {
        BadEntry::Symlink | BadEntry::Submodule | BadEntry::Mode => {
            (TrustCode::W105, "ordinary files and folders only", remove())
        }
        BadEntry::Collision { .. } => (TrustCode::W104, "names that differ in more than case or form", remove()),
        BadEntry::Order { .. } => (
            TrustCode::W104,
            "entries in the order in which git writes them",
            format!("{}, which puts them in order", commit_again(commit)),
        ),
        // Git does not take such a name into its index, not even to remove it.
        BadEntry::Name => (
            TrustCode::W104,
            "a name of at most 255 bytes without control or invisible characters, backslash, `..` or `.git`",
            format!("{}, without that name", commit_again(commit)),
        ),
    };
    refuse(code, commit, format!("{path} is {reason}"), needed.to_owned(), fix)
}

/// Takes a commit and what follows it apart, for files that git itself does not write as they are there.
fn commit_again(commit: &CommitId) -> String {
    format!("git reset {commit}~1 # keeps all files; then `git {SIGN} commit --gpg-sign` commits them again")
}

/// What `git` needs to sign a commit again, ready to be pasted: the head by amending it, an earlier one by replaying
/// everything after its predecessor.
pub(crate) fn sign_again(predecessor: Option<&CommitId>, place: Place) -> String {
    sign(SIGN, predecessor, place)
}

/// What to do about the signature that `finding` refuses. Where the key itself is what is wrong, signing with it again
/// would change nothing: the command names another one, and the finding's own words follow it.
/// Who signed is told how to do so again, in the same format, unless that is what is refused or nobody has a key of it.
pub(crate) fn mend_signature(
    finding: Finding,
    formats: &SigningFormats,
    object: &CommitObject,
    predecessor: Option<&CommitId>,
    place: Place,
) -> Finding {
    const OF_THE_KEY: [TrustCode; 4] = [TrustCode::W202, TrustCode::W204, TrustCode::W206, TrustCode::W304];
    let format = object.signature_format().map(SignatureFormat::from);
    let (again, with) = formats.again(format.filter(|_| finding.code != TrustCode::W208.entry()));
    let fix = if OF_THE_KEY.iter().any(|code| finding.code == code.entry()) {
        format!("{} # {}", sign(with, predecessor, place), finding.fix)
    } else if finding.code == TrustCode::W203.entry() {
        let why = match format {
            Some(SignatureFormat::OpenPgp) => "with a strong key that .writ/trust.yaml lists, as gpg makes today",
            _ => "with a strong key that .writ/trust.yaml lists, as ssh-keygen -t ed25519 makes",
        };
        format!("{} # {why}", sign(with, predecessor, place))
    } else if finding.code == TrustCode::W209.entry() {
        format!("{} # {}", sign(again, predecessor, place), finding.fix)
    } else if finding.code == TrustCode::W205.entry() {
        format!("{} # and from now on: git config gitsign.rekorMode offline", sign(again, predecessor, place))
    } else if finding.code == TrustCode::W207.entry() && !finding.fix.starts_with("git ") {
        // The key may be right and only its use was not: what to do differently follows the command.
        format!("{} # {}", sign(again, predecessor, place), finding.fix)
    } else {
        sign(again, predecessor, place)
    };
    let fix = if again.is_empty() { formats.noted(fix) } else { fix };
    Finding { fix: fix.into(), ..finding }
}

/// The same about a commit that was accepted before: signed again it would be another one, which nothing lets in its place.
/// Root principals have it left out for a commit on top that takes back what it brought; `formats` are theirs.
pub(crate) fn accepted_before(
    step: StepVerdict,
    predecessor: &CommitId,
    is_merge: bool,
    (root, formats): (&TrustRootSpec, &SigningFormats),
) -> StepVerdict {
    let is_of_signature = |finding: &Finding| finding.code.code.starts_with("W2");
    let commit = step.commit;
    let verdict = step.verdict.map_err(|finding| match is_of_signature(&finding) {
        true => {
            let parent = if is_merge { " --mainline 1" } else { "" };
            let revert = format!("{} revert --no-edit --gpg-sign{parent} {commit}", formats.git());
            let skip = format!("{revert} && {FETCH_APPROVALS} && writ trust approve HEAD --skip-from {predecessor}");
            let then = format!(
                " && {} && {PUSH_APPROVALS} # as a root principal; others whom it takes approve it with the same \
                 --skip-from, and W407 says what an admin does then. Or trust again what vouched for this one, if it is \
                 good: what was accepted cannot be signed anew",
                push_head(root)
            );
            Finding { fix: formats.noted(formats.writ(&skip, &then)).into(), ..finding }
        }
        false => finding,
    });
    StepVerdict { verdict, ..step }
}

/// What an admin types to change a TrustRoot. A spec does not say what it is called.
const PATCH_ROOT: &str = "kubectl patch trustroot ";

/// W407: what was accepted last is among what root principals had left out. Nobody but an admin takes acceptance back.
pub(crate) fn floor_left_out(head: &CommitId, floor: &CommitId, by: &CommitId) -> Finding {
    let found = format!("commit {floor}, which was accepted last, is left out before commit {by}");
    let needed = format!("an admin who vouches for commit {by} (spec.resumeFrom of the TrustRoot)");
    let fix = format!("{PATCH_ROOT}NAME --type=merge -p '{{\"spec\":{{\"resumeFrom\":\"{by}\"}}}}'");
    refuse(TrustCode::W407, head, found, needed, fix)
}

impl Judgement {
    /// The same by a TrustRoot of this name: what an admin types about it has the name.
    #[must_use]
    pub fn under(mut self, root: &str) -> Self {
        let named = format!("{PATCH_ROOT}{} ", manifest::shell_quote(root));
        for finding in self.steps.iter_mut().filter_map(|step| step.verdict.as_mut().err()) {
            if finding.code == TrustCode::W407.entry() {
                finding.fix = finding.fix.replacen(&format!("{PATCH_ROOT}NAME "), &named, 1).into();
            }
        }
        self
    }
}

fn sign(options: &str, predecessor: Option<&CommitId>, place: Place) -> String {
    match predecessor {
        Some(predecessor) if place == Place::Below => {
            format!("{} rebase --rebase-merges --force-rebase --gpg-sign {predecessor}", git(options))
        }
        _ => format!("{} commit --amend --no-edit --gpg-sign", git(options)),
    }
}
