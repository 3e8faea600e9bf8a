//! The tag that a release is made by, where the tracked ref is one: form, signature, and whether its signer may release.
//!
//! A tag comes after its commit and is judged by the trust file that is in force there, with all its revocations. The commit
//! is judged as the head of a branch is; the tag alone authorises nothing that it leads to.

use jiff::Timestamp;
use manifest::{Digest, Finding};

use super::{Floor, Judge, Judgement, State};
use crate::{
    AuthorizedCommit, CLOCK_SKEW, HistoryError, NAMESPACE_GIT, Signer, TagId, TagObject, TrustCode, TrustFile,
    VerifiedCommit,
    commit_object::Refused,
    git_ref::tag_name,
    instants::Instants,
    refusal::{refuse, unreadable},
    repair::sign_tag,
    step::read_commit,
    verified::made_at,
    verified_signature::Signed,
};

/// A tag that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagVerdict {
    /// Its id.
    pub id: TagId,
    /// What it is called.
    pub name: String,
    /// SHA-256 of what was signed.
    pub payload_sha256: Digest,
    /// Whose good signature it carries, also if it is refused for something else.
    pub signer: Option<Signer>,
}

impl Judge<'_> {
    /// The tag object that the tracked ref names, if that is a tag.
    ///
    /// # Errors
    /// W301 if it is only a name for a commit; W1xx and W404 as [`TagObject`] says.
    pub(super) fn tagged(&self) -> Result<Option<TagObject>, Finding> {
        let Some(name) = tag_name(&self.root.r#ref) else { return Ok(None) };
        let Some(id) = self.head.tag else {
            let found = format!("{} names it and is no tag object: nobody signed that", self.root.r#ref);
            let fix = sign_tag(name, &self.head.commit.to_string());
            return Err(refuse(TrustCode::W301, &self.head.commit, found, "a signed tag".to_owned(), fix));
        };
        let missing = HistoryError::Missing { object: format!("tag {id}") };
        let raw = self.history.tag(&id).map_err(|error| unreadable(&self.head.commit, &error))?;
        let tag = TagObject::parse(id, &raw.ok_or_else(|| unreadable(&self.head.commit, &missing))?)?;
        tag.for_ref(&self.root.r#ref)?;
        if tag.commit != self.head.commit {
            let found = format!("it names commit {}, and {} was asked for", tag.commit, self.head.commit);
            return Err(tag.refuse(Refused::new(TrustCode::W101, found, "the commit that it names")));
        }
        Ok(Some(tag))
    }

    /// Judges the tag of a head that is accepted otherwise. One that is refused leaves nothing accepted: its commits may be
    /// good, and nobody released them.
    pub(super) fn judge_tag(&self, tag: &TagObject, state: &State, floor: &Floor, judgement: &mut Judgement) {
        let above = match floor {
            Floor::None => false,
            Floor::Below => judgement.from != Some(self.head.commit),
            Floor::At(at, _) => *at != self.head.commit,
        };
        let mut verdict =
            TagVerdict { id: tag.id, name: tag.name.clone(), payload_sha256: tag.payload_sha256, signer: None };
        let author = self.author(state, judgement.accepted.as_ref());
        let refused = self.release(tag, state, above, author.as_deref(), &mut verdict).err();
        judgement.tag = Some(verdict);
        let Some(finding) = refused else { return };
        let finding = state.policy.formats(Some(self.now)).fit(finding, None);
        judgement.accepted = None;
        match judgement.steps.last_mut() {
            Some(last) => last.verdict = Err(finding),
            None => judgement.steps.push(*self.about(self.head.commit, finding)),
        }
    }

    fn release(
        &self,
        tag: &TagObject,
        state: &State,
        above: bool,
        author: Option<&str>,
        verdict: &mut TagVerdict,
    ) -> Result<(), Finding> {
        let policy = &*state.policy;
        let made = self.tagged_at(tag, state)?;
        // Nothing follows a tag, but it was not made before what it names.
        let first_sight = Some(if above { self.now } else { state.made });
        let instants = Instants { committer: made, first_sight };
        let signer = verdict.signer.insert(self.signer_of(tag, policy, &instants)?);
        policy.authorise_tag(tag, &self.root.r#ref, author, &signer.principal)
    }

    /// Who signed the commit that the tag names, if that can be told: of one that was accepted before, as long as its own
    /// trust file still knows the key.
    fn author(&self, state: &State, accepted: Option<&AuthorizedCommit>) -> Option<String> {
        let known = accepted.filter(|commit| commit.id == state.commit).and_then(AuthorizedCommit::signer);
        known.map(|signer| signer.principal.clone()).or_else(|| {
            let object = read_commit(self.history, &state.commit).ok()?;
            let instants = Instants { committer: made_at(&object).ok()?, first_sight: None };
            let verified = VerifiedCommit::verify(&object, &state.policy, &instants, self.verifier).ok()?;
            Some(verified.signer().principal.clone())
        })
    }

    /// W406: a tag is not made before its commit, nor in the future, but for the skew of clocks.
    fn tagged_at(&self, tag: &TagObject, state: &State) -> Result<Timestamp, Finding> {
        let refused = |found: String, needed: String| Err(tag.refuse(Refused::new(TrustCode::W406, found, needed)));
        let Ok(made) = Timestamp::from_second(tag.tagger_time) else {
            return refused(format!("tagger time {}", tag.tagger_time), "a time until the year 9999".to_owned());
        };
        if made < state.made.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN) {
            return refused(format!("made {made}, before its commit"), format!("not before {}", state.made));
        }
        if made > self.now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
            return refused(format!("made {made}, in the future"), format!("not after {}", self.now));
        }
        Ok(made)
    }

    fn signer_of(&self, tag: &TagObject, policy: &TrustFile, instants: &Instants) -> Result<Signer, Finding> {
        let signed = Signed::Message { signature: &tag.signature, message: &tag.payload, namespace: NAMESPACE_GIT };
        let (signer, _signature) =
            policy.signer(signed, instants, self.verifier).map_err(|uncounted| tag.uncounted(uncounted))?;
        Ok(signer)
    }
}
