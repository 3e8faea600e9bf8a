//! For people: a line for each commit, more for what is refused.

use std::fmt::{Error, Write as _};

use manifest::counted;

use super::{Signer, Step, Tag, Verdict, Verification};
use crate::output::{self, Paint, printable};

impl Verification {
    /// The whole verdict.
    pub(super) fn human(&self) -> Result<String, Error> {
        let mut text = String::new();
        for step in &self.steps {
            step.human(&mut text)?;
        }
        if let Some(Tag { name, signer: Some(signer), .. }) = &self.tag {
            writeln!(text, "tag {} signed by {} with {}", printable(name), printable(&signer.principal), signer.key)?;
        }
        let commits = counted(self.steps.len() as u64, "commit");
        write!(text, "{}: {commits} judged", self.verdict.painted())?;
        match (self.from, self.from_trusted) {
            (Some(from), true) => write!(text, " after {from}, the introduction of the trust root")?,
            (Some(from), false) => write!(text, " after {from}, taken as accepted")?,
            (None, _) => {}
        }
        writeln!(text, "{}", self.scope())?;
        Ok(text)
    }

    /// What "accepted" is about: the cluster may still refuse the same commit for what it declares.
    const fn scope(&self) -> &'static str {
        match (self.verdict, self.to.is_some()) {
            (Verdict::Refused, _) => "",
            (Verdict::Accepted | Verdict::Held, true) => {
                ": signatures and authority; policies are judged in the cluster"
            }
            (Verdict::Accepted | Verdict::Held, false) => ": signatures alone",
        }
    }

    /// What whoever pushes is told: the verdict, and what was refused.
    pub(crate) fn for_a_push(&self, git_ref: &str) -> Result<String, Error> {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.verdict == Verdict::Refused) {
            step.human(&mut text)?;
        }
        let commits = counted(self.steps.len() as u64, "commit");
        writeln!(text, "{}: {commits} judged for {}", self.verdict.painted(), printable(git_ref))?;
        Ok(text)
    }
}

impl Verdict {
    fn painted(self) -> String {
        output::paint(self.word(), if self == Self::Accepted { Paint::Good } else { Paint::Bad })
    }
}

impl Step {
    /// Who signed, as far as that was looked at.
    pub(super) fn who(&self) -> String {
        // What is said about history is said before any signature is looked at.
        let unlooked = self.code.is_some_and(|code| code.starts_with("W4"));
        match &self.signer {
            Some(Signer { principal, key, ca: Some(ca), .. }) => {
                format!("signed by {} with {key}, certified by {ca}", printable(principal))
            }
            Some(Signer { principal, identity: Some(account), .. }) => {
                format!("signed by {} as {}", printable(principal), printable(&account.to_string()))
            }
            Some(signer) => format!("signed by {} with {}", printable(&signer.principal), signer.key),
            None if unlooked => "signature not looked at".to_owned(),
            None => "no valid signature".to_owned(),
        }
    }

    fn human(&self, text: &mut String) -> Result<(), Error> {
        let (id, who) = (self.short_id(), self.who());
        match self.refusal() {
            None => writeln!(text, "{} {id}  {who}", output::paint("accepted", Paint::Good))?,
            Some(refusal) => {
                writeln!(text, "{} {id}  {}, {who}", output::paint("refused ", Paint::Bad), refusal.title())?;
                writeln!(text, "  {}", refusal.message)?;
                if !refusal.fix.is_empty() {
                    writeln!(text, "  fix: {}", refusal.fix)?;
                }
            }
        }
        for commit in &self.skipped {
            writeln!(text, "  left out before it: {commit}, as root principals say")?;
        }
        // A refusal names the rule that stopped it.
        for rule in self.rules.iter().filter(|_rule| self.verdict == Verdict::Accepted) {
            rule.human(text)?;
        }
        self.explained.as_ref().map_or(Ok(()), |explained| explained.human(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hostile, sample};

    #[test]
    fn a_line_each_and_more_of_what_is_refused() {
        let expected = "\
accepted 010101010101  signed by bob with SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
refused  020202020202  W301 Unsigned, no valid signature
  commit 020202020202: unsigned; needed: a signature
  fix: git x && y
refused  030303030303  W502 TrustFileInvalid, no valid signature
  .writ/a file.yaml:3:7: a mistake; needed: a signature
  fix: git x && y
refused: 3 commits judged
";
        assert_eq!(sample().human().unwrap(), expected);
    }

    #[test]
    fn nobody_adds_a_line() {
        let text = hostile().human().unwrap();
        let starts: Vec<String> = text.lines().map(|line| line.chars().take(8).collect()).collect();
        assert_eq!(starts, ["refused ", "  a\\u{1b", "  fix: a", "accepted", "refused:"], "{text}");
        assert!(!text.chars().any(|character| character != '\n' && manifest::is_unprintable(character)), "{text:?}");
    }
}
