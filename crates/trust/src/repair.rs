//! Commands that mend a commit, each on one line so that it works when pasted into a shell.

use crate::{CommitObject, TrustCode};

/// What to do about an object that is refused with this code.
pub(crate) const fn remake(code: TrustCode) -> &'static str {
    match code {
        // The bytes are not what the id promises: nothing that is committed mends that.
        TrustCode::W106 => "git fsck --full # then clone again from a server you trust, and report the object",
        // A shorter message, without NUL, is a person's to write.
        TrustCode::W103 => "git commit --amend --allow-empty -S # and shorten the message",
        // `commit --amend` would keep foreign headers. Of a merge the content stays, as one ordinary commit.
        _ => "git reset --soft HEAD~1 && git commit --allow-empty -S -C ORIG_HEAD",
    }
}

/// Options of `git` that sign with the person's own key, or with the usual one where none is set.
pub(crate) const SIGN: &str =
    "-c gpg.format=ssh -c user.signingkey=\"$(git config user.signingkey || echo ~/.ssh/id_ed25519.pub)\"";

/// Signs a trust file as one root principal, and brings the signature along in the commit that holds the file.
pub(crate) const SIGN_TRUST_FILE: &str = "mkdir -p .writ/trust.yaml.sigs && ssh-keygen -Y sign -n writ-trust@1 -f KEY_FILE < .writ/trust.yaml > .writ/trust.yaml.sigs/PRINCIPAL.sig && git add .writ && git commit --amend --no-edit -S # as each root principal";

/// Options of `git` that sign with a key that only the person knows of: the usual one was refused.
pub(crate) const SIGN_WITH: &str = "-c gpg.format=ssh -c user.signingkey=KEY_FILE";

/// Signs a commit again, and with it whatever follows it on the branch: the same command for the newest and for an
/// older one.
pub(crate) fn resign(commit: &CommitObject) -> String {
    let from = if commit.parents.is_empty() { "--root".to_owned() } else { format!("{}^", commit.id) };
    format!("git {SIGN} rebase --rebase-merges --force-rebase --gpg-sign {from}")
}
