//! What binds a commit to the ref that it was made for: a signed feature branch is not the mainline, whoever moves the ref.

use manifest::Finding;

use crate::{
    CommitObject, TrustCode, TrustRootSpec,
    refusal::refuse,
    repair::{Place, SIGN, in_place},
};

/// The trailer that names repository and ref.
const TRAILER: &str = "Writ-Ref";

/// What binds the commits of the mainline (`history.refBinding`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefBinding {
    /// Nothing but their history. The default.
    #[default]
    None,
    /// The trailer `Writ-Ref: <repoId> <ref>` in the signed message.
    Trailer,
    /// The trailer, or an approval by a person, which names repository and ref as well.
    Attestation,
}

/// Whether the message carries the trailer for this repository and ref. In a message with several, one is enough: its
/// signer names each of them.
pub(crate) fn has_trailer(object: &CommitObject, root: &TrustRootSpec) -> bool {
    let wanted = trailer(root);
    let mut paragraph: Vec<&[u8]> = Vec::new();
    for line in object.message.split(|byte| *byte == b'\n') {
        match line.trim_ascii_end() {
            [] => {
                // Blank lines at the end do not end the last paragraph.
                paragraph.push(line);
            }
            _ if paragraph.last().is_some_and(|last| last.trim_ascii_end().is_empty()) => {
                paragraph.clear();
                paragraph.push(line);
            }
            _ => paragraph.push(line),
        }
    }
    paragraph.iter().any(|line| line.trim_ascii_end() == wanted.as_bytes())
}

/// W404.
pub(crate) fn unbound(object: &CommitObject, root: &TrustRootSpec, binding: RefBinding, place: Place) -> Finding {
    let wanted = trailer(root);
    let found = format!("its message does not say that it is for {} of {}", root.r#ref, root.repo_id);
    let needed = match binding {
        RefBinding::Attestation => format!("the trailer `{wanted}`, or an approval (history.refBinding: attestation)"),
        RefBinding::None | RefBinding::Trailer => format!("the trailer `{wanted}` (history.refBinding: trailer)"),
    };
    let quoted = manifest::shell_quote(&wanted);
    let amend = format!("git {SIGN} commit --amend --no-edit --trailer {quoted} --gpg-sign");
    refuse(TrustCode::W404, &object.id, found, needed, in_place(&amend, &object.id, place))
}

fn trailer(root: &TrustRootSpec) -> String {
    format!("{TRAILER}: {} {}", root.repo_id, root.r#ref)
}
