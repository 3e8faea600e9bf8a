//! Commands that mend a commit, each on one line so that it works when pasted into a shell.

use crate::{CommitId, CommitObject, SigningFormats, TrustCode, TrustRootSpec, git_ref::tag_name};

/// Options of `git` that sign with the person's own SSH key, or with the usual one where none is set: a bare `--gpg-sign`
/// asks for OpenPGP wherever nothing else is configured. Where the trust file is known, [`SigningFormats`](crate::SigningFormats)
/// puts others in their place.
pub(crate) const SIGN: &str =
    "-c gpg.format=ssh -c user.signingkey=\"$(git config user.signingkey || echo ~/.ssh/id_ed25519.pub)\"";

/// Options of `git` that sign with a key that only the person knows of: the usual one was refused.
pub(crate) const SIGN_WITH: &str = "-c gpg.format=ssh -c user.signingkey=KEY_FILE";

/// Options of `git` that sign with the person's own OpenPGP key, or with the one that gpg finds for their name.
pub(crate) const SIGN_OPENPGP: &str = "-c gpg.format=openpgp";

/// Options of `git` that sign with an OpenPGP key that only the person knows of: the usual one was refused.
pub(crate) const SIGN_OPENPGP_WITH: &str = "-c gpg.format=openpgp -c user.signingkey=FINGERPRINT";

/// Options of `git` that sign with gitsign, and keep the log entry in the signature.
pub(crate) const SIGN_KEYLESS: &str = "-c gpg.format=x509 -c gpg.x509.program=gitsign -c gitsign.rekorMode=offline";

/// `git` with these options.
pub(crate) fn git(options: &str) -> String {
    if options.is_empty() { "git".to_owned() } else { format!("git {options}") }
}

/// Shows the server the commit that is checked out as the new head of the tracked ref.
pub(crate) fn push_head(root: &TrustRootSpec) -> String {
    match tag_name(&root.r#ref) {
        Some(tag) => sign_tag(tag, "HEAD"),
        None => format!("git push origin {}", manifest::shell_quote(&format!("HEAD:{}", root.r#ref))),
    }
}

/// Whether a commit is the head that is judged, or one that others follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the head.
    Head,
    /// Others follow it, or may: what mends it there mends a head as well.
    Below,
}

impl Place {
    pub(crate) fn of(commit: &CommitId, head: &CommitId) -> Self {
        if commit == head { Self::Head } else { Self::Below }
    }
}

/// What to do about an object that is refused with this code. Where it stands is not known.
pub(crate) fn remake(code: TrustCode, commit: &CommitId) -> String {
    match code {
        // The bytes are not what the id promises: nothing that is committed mends that.
        TrustCode::W106 => {
            "git fsck --full # then clone again from a server you trust, and report the object".to_owned()
        }
        // A shorter message, without NUL, is a person's to write.
        TrustCode::W103 => {
            let amend = format!("git {SIGN} commit --amend --allow-empty --gpg-sign");
            format!("{} # and shorten the message", in_place(&amend, commit, Place::Below))
        }
        // `commit --amend` would keep foreign headers.
        _ => replay(&format!("{commit}^")),
    }
}

/// Runs commands that end with `commit` as the head, and brings along what follows it.
pub(crate) fn in_place(commands: &str, commit: &CommitId, place: Place) -> String {
    match place {
        Place::Head => commands.to_owned(),
        Place::Below => format!(
            "git switch --detach {commit} && {commands} && mended=$(git rev-parse HEAD) && git switch - && {} {commit}",
            replay("--onto $mended")
        ),
    }
}

/// Tags a commit again, signed, and moves the tag on the server.
pub(crate) fn sign_tag(name: &str, commit: &str) -> String {
    sign_tag_with(SIGN, name, commit)
}

/// The same with OpenPGP.
pub(crate) fn sign_tag_openpgp(name: &str, commit: &str) -> String {
    sign_tag_with(SIGN_OPENPGP, name, commit)
}

/// The same with gitsign.
pub(crate) fn sign_tag_keyless(name: &str, commit: &str) -> String {
    sign_tag_with(SIGN_KEYLESS, name, commit)
}

fn sign_tag_with(options: &str, name: &str, commit: &str) -> String {
    let (tag, pushed) = (manifest::shell_quote(name), manifest::shell_quote(&format!("refs/tags/{name}")));
    format!("git {options} tag --sign --force -m {tag} {tag} {commit} && git push --force origin {pushed}")
}

/// Makes the newest commit again from what is staged.
pub(crate) fn amend() -> String {
    format!("git {SIGN} commit --amend --no-edit --allow-empty --gpg-sign")
}

/// Signs a trust file as one root principal, and brings the signature along in the commit that holds the file. `formats` are
/// those of the root principals.
pub(crate) fn sign_trust_file(formats: &SigningFormats, commit: &CommitId, place: Place) -> String {
    let (sign, others) = formats.sign_file(".writ/trust.yaml", ".writ/trust.yaml.sigs/PRINCIPAL");
    let sign = format!("mkdir -p .writ/trust.yaml.sigs && {sign} && git add .writ");
    let command = in_place(&format!("{sign} && {}", amend()), commit, place);
    let others = others.map_or_else(String::new, |others| format!("; {others}"));
    format!("{command} # as each root principal{others}")
}

/// Signs a commit again, and with it whatever follows it on the branch: the same command for the newest and for an
/// older one.
pub(crate) fn resign(commit: &CommitObject) -> String {
    replay(&before(commit))
}

/// The same with OpenPGP.
pub(crate) fn resign_openpgp(commit: &CommitObject) -> String {
    replay_with(SIGN_OPENPGP, &before(commit))
}

/// The same with another OpenPGP key.
pub(crate) fn resign_openpgp_with(commit: &CommitObject) -> String {
    replay_with(SIGN_OPENPGP_WITH, &before(commit))
}

/// The same with gitsign.
pub(crate) fn resign_keyless(commit: &CommitObject) -> String {
    replay_with(SIGN_KEYLESS, &before(commit))
}

/// What `git rebase` goes back to, to make a commit again.
fn before(commit: &CommitObject) -> String {
    if commit.parents.is_empty() { "--root".to_owned() } else { format!("{}^", commit.id) }
}

/// Makes everything after a commit again, signed.
fn replay(from: &str) -> String {
    replay_with(SIGN, from)
}

fn replay_with(options: &str, from: &str) -> String {
    format!("git {options} rebase --rebase-merges --force-rebase --gpg-sign {from}")
}
