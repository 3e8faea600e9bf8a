//! Commands that mend a commit, each on one line so that it works when pasted into a shell.

use crate::CommitObject;

/// Makes the newest commit again with the headers that Git writes, and signs it. `commit --amend` would keep foreign headers.
pub(crate) const REMAKE: &str = "git reset --soft HEAD~1 && git commit -S -C ORIG_HEAD";

/// Signs a commit again: the newest one as it is, an older one by rebasing what follows.
pub(crate) fn resign(commit: &CommitObject) -> String {
    let id = commit.id.to_string();
    let from = if commit.parents.is_empty() { "--root".to_owned() } else { format!("{id}^") };
    format!(
        "git config gpg.format ssh && git config user.signingkey ~/.ssh/id_ed25519.pub && \
         git commit --amend --no-edit -S # an older commit than the newest: git rebase --rebase-merges --force-rebase \
         --gpg-sign {from}"
    )
}
