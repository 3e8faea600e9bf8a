//! Findings about commits, and what errors of the object database become: every one is a refusal.

use manifest::{Finding, Subject};

use crate::{
    BadEntry, CommitId, HistoryError, TrustCode,
    repair::{SIGN, SIGN_WITH},
};

/// A finding about a commit.
pub(crate) fn refuse(code: TrustCode, commit: &CommitId, found: String, needed: String, fix: String) -> Finding {
    Finding { code: code.entry(), subject: Subject::Commit(commit.to_string()), rule: None, found, needed, fix }
}

/// What an error of the object database is for the commit that was being judged.
pub(crate) fn unreadable(commit: &CommitId, error: &HistoryError) -> Finding {
    let (code, commit, needed, fix) = match error {
        HistoryError::Missing { .. } => (
            TrustCode::W403,
            commit,
            "the whole history from the last accepted commit".to_owned(),
            "fetch it: git fetch --unshallow origin".to_owned(),
        ),
        HistoryError::BadEntry { commit, path, reason } => {
            let code = match reason {
                BadEntry::Symlink | BadEntry::Submodule | BadEntry::Mode => TrustCode::W105,
                BadEntry::Name | BadEntry::Collision => TrustCode::W104,
            };
            let needed = match reason {
                BadEntry::Symlink | BadEntry::Submodule | BadEntry::Mode => "ordinary files and folders only",
                BadEntry::Name => "a name without control characters, backslash, `..` or `.git`",
                BadEntry::Collision => "names that differ in more than case or form",
            };
            (
                code,
                commit,
                needed.to_owned(),
                format!("remove it or make it an ordinary file: git rm --cached -- {}", manifest::shell_quote(path)),
            )
        }
        HistoryError::Limit { limit, .. } => {
            (TrustCode::W403, commit, format!("at most {limit}"), "advance in smaller commits or files".to_owned())
        }
        HistoryError::Read { .. } => (
            TrustCode::W403,
            commit,
            "a readable object database".to_owned(),
            "repair or fetch the repository again: git fsck --full".to_owned(),
        ),
    };
    let found = match error {
        HistoryError::BadEntry { path, reason, .. } => format!("{path} is {reason}"),
        HistoryError::Missing { .. } | HistoryError::Limit { .. } | HistoryError::Read { .. } => error.to_string(),
    };
    refuse(code, commit, found, needed, fix)
}

/// What `git` needs to sign a commit again, ready to be pasted: the head by amending it, an earlier one by replaying
/// everything after its predecessor.
pub(crate) fn sign_again(predecessor: Option<&CommitId>, is_head: bool) -> String {
    sign(SIGN, predecessor, is_head)
}

/// What to do about the signature that `finding` refuses. Where the key itself is what is wrong, signing with it again
/// would change nothing: the command names another one, and the finding's own words follow it.
pub(crate) fn mend_signature(finding: Finding, predecessor: Option<&CommitId>, is_head: bool) -> Finding {
    const OF_THE_KEY: [TrustCode; 3] = [TrustCode::W202, TrustCode::W204, TrustCode::W304];
    let fix = if OF_THE_KEY.iter().any(|code| finding.code == code.entry()) {
        format!("{} # {}", sign(SIGN_WITH, predecessor, is_head), finding.fix)
    } else if finding.code == TrustCode::W203.entry() {
        let why = "with a strong key that .writ/trust.yaml lists, as ssh-keygen -t ed25519 makes";
        format!("{} # {why}", sign(SIGN_WITH, predecessor, is_head))
    } else {
        sign_again(predecessor, is_head)
    };
    Finding { fix, ..finding }
}

fn sign(options: &str, predecessor: Option<&CommitId>, is_head: bool) -> String {
    match predecessor {
        Some(predecessor) if !is_head => {
            format!("git {options} rebase --rebase-merges --force-rebase --gpg-sign {predecessor}")
        }
        _ => format!("git {options} commit --amend --no-edit --gpg-sign"),
    }
}
