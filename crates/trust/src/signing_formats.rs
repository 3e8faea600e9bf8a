//! With what those sign who may: a command that is printed for them asks for keys that they have.

use std::collections::BTreeSet;

use jiff::Timestamp;
use manifest::{Finding, RepoPath};

use crate::{
    NAMESPACE_TRUST, PrincipalKind, SignatureFormat, TrustFile,
    repair::{SIGN, SIGN_KEYLESS, SIGN_OPENPGP, SIGN_OPENPGP_WITH, SIGN_WITH, git},
    rules::list,
};

/// The formats in which somebody has a key, each with whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningFormats(Vec<(SignatureFormat, Vec<String>)>);

impl TrustFile {
    /// The formats in which principals that are chosen have a key: not revoked and, at a time, not ended.
    #[must_use]
    pub fn signing_formats(&self, at: Option<Timestamp>, chosen: impl Fn(&str) -> bool) -> SigningFormats {
        SigningFormats::of(|format| {
            let has = |name: &str| chosen(name) && self.can_sign_by(name, format, at);
            self.principals.keys().filter(|name| has(name)).cloned().collect()
        })
    }

    /// The same of the people whose signatures on a new trust file count.
    #[must_use]
    pub fn root_formats(&self, at: Timestamp) -> SigningFormats {
        self.signing_formats(Some(at), |name| self.counts_for_trust(name))
    }

    /// The same of those in a role that a rule for one of these paths asks for.
    pub(crate) fn formats_for<'a>(
        &self,
        paths: impl Iterator<Item = &'a RepoPath>,
        at: Option<Timestamp>,
    ) -> SigningFormats {
        let rules: BTreeSet<&str> =
            paths.flat_map(|path| self.rules_for(path)).map(|rule| rule.name.as_str()).collect();
        let rules = self.rules.iter().filter(|rule| rules.contains(rule.name.as_str()));
        let roles = rules.flat_map(|rule| &rule.any_of).filter_map(|item| self.roles.get(&item.role));
        let able: BTreeSet<&str> = roles.flatten().map(String::as_str).collect();
        let is_forge = |name: &str| self.principals.get(name).is_none_or(|one| one.kind == PrincipalKind::Forge);
        self.signing_formats(at, |name| able.contains(name) && !is_forge(name))
    }

    /// The same of all who may stand for anything.
    #[must_use]
    pub fn formats(&self, at: Option<Timestamp>) -> SigningFormats {
        let stands = |name: &str| self.principals.get(name).is_some_and(|one| one.kind != PrincipalKind::Forge);
        self.signing_formats(at, stands)
    }
}

impl SigningFormats {
    fn of(holders: impl Fn(SignatureFormat) -> Vec<String>) -> Self {
        let all = [SignatureFormat::Ssh, SignatureFormat::OpenPgp, SignatureFormat::Keyless];
        let held = all.into_iter().map(|format| (format, holders(format)));
        Self(held.filter(|(_format, names)| !names.is_empty()).collect())
    }

    /// Those for which lists of keys are given; whose keys they are is not known.
    pub(crate) fn given(formats: &[(SignatureFormat, bool)]) -> Self {
        Self(formats.iter().filter(|(_, given)| *given).map(|(format, _)| (*format, Vec::new())).collect())
    }

    /// Whether somebody has a key in this format.
    pub(crate) fn has(&self, format: SignatureFormat) -> bool {
        self.0.iter().any(|(known, _names)| *known == format)
    }

    /// The one format, if there is but one; SSH if nobody has any key, which is what people set up first.
    fn only(&self) -> Option<SignatureFormat> {
        match self.0.as_slice() {
            [] => Some(SignatureFormat::Ssh),
            [(format, _names)] => Some(*format),
            _several => None,
        }
    }

    /// What a signature has to be.
    pub(crate) fn needed(&self) -> &'static str {
        let has = |format| self.has(format);
        match (has(SignatureFormat::Ssh), has(SignatureFormat::OpenPgp), has(SignatureFormat::Keyless)) {
            (true, true, true) => "an SSH, OpenPGP or keyless signature",
            (true, true, false) => "an SSH or OpenPGP signature",
            (true, false, true) => "an SSH or keyless signature",
            (false, true, true) => "an OpenPGP or keyless signature",
            (false, true, false) => "an OpenPGP signature",
            (false, false, true) => "a keyless signature",
            (_, false, false) => "an SSH signature",
        }
    }

    /// `git` with the options that sign in the one format; without any where Git has to be set up for one of several.
    #[must_use]
    pub fn git(&self) -> String {
        git(options(self.only()))
    }

    /// A command with what has to be known of `gpg.format`, where there are several.
    #[must_use]
    pub fn noted(&self, command: String) -> String {
        if self.only().is_some() {
            return command;
        }
        let each = self.0.iter().map(|(format, names)| {
            let setting = match format {
                SignatureFormat::Ssh => "ssh",
                SignatureFormat::OpenPgp => "openpgp",
                SignatureFormat::Keyless => "x509 by gitsign",
            };
            of_whom(setting, names)
        });
        remark(&command, &format!("gpg.format as your key: {}", each.collect::<Vec<_>>().join(", ")))
    }

    /// The option of `writ` that says with what to sign, and what has to be known where others sign otherwise.
    pub(crate) fn writ_option(&self) -> (&'static str, Option<String>) {
        let option = |format: &SignatureFormat| match format {
            SignatureFormat::Ssh => "--key KEY_FILE",
            SignatureFormat::OpenPgp => "--openpgp FINGERPRINT",
            SignatureFormat::Keyless => "--bundle BUNDLE_FILE",
        };
        let Some(((first, _names), others)) = self.0.split_first() else { return ("--key KEY_FILE", None) };
        let others: Vec<String> = others.iter().map(|(format, names)| of_whom(option(format), names)).collect();
        (option(first), (!others.is_empty()).then(|| format!("or {}", others.join(", or "))))
    }

    /// The command that signs a trust file without writ, into a file whose name gets its ending, and how others sign.
    pub(crate) fn sign_file(&self, file: &str, signature: &str) -> (String, Option<String>) {
        let sign = |format: Option<&SignatureFormat>| match format {
            Some(SignatureFormat::OpenPgp) => {
                format!("gpg --yes --armor --detach-sign --local-user FINGERPRINT --output {signature}.asc {file}")
            }
            Some(SignatureFormat::Keyless) => {
                format!("cosign sign-blob --new-bundle-format --bundle {signature}.sig {file}")
            }
            Some(SignatureFormat::Ssh) | None => {
                format!("ssh-keygen -Y sign -n {NAMESPACE_TRUST} -f KEY_FILE < {file} > {signature}.sig")
            }
        };
        let others: Vec<String> =
            self.0.iter().skip(1).map(|(format, names)| of_whom(&sign(Some(format)), names)).collect();
        let first = sign(self.0.first().map(|(format, _names)| format));
        (first, (!others.is_empty()).then(|| format!("others: {}", others.join(", "))))
    }

    /// A command of `writ` that signs, from what stands before the option and after it.
    #[must_use]
    pub fn writ(&self, before: &str, after: &str) -> String {
        let (option, others) = self.writ_option();
        let command = format!("{before} {option}{after}");
        others.map_or_else(|| command.clone(), |others| remark(&command, &others))
    }

    /// The options with which a commit is signed again, with the same key and with another one: in the format that it has,
    /// if somebody has a key of that.
    pub(crate) fn again(&self, format: Option<SignatureFormat>) -> (&'static str, &'static str) {
        let format = format.filter(|format| self.has(*format)).or_else(|| self.only());
        let another = match format {
            Some(SignatureFormat::Ssh) => SIGN_WITH,
            Some(SignatureFormat::OpenPgp) => SIGN_OPENPGP_WITH,
            Some(SignatureFormat::Keyless) => SIGN_KEYLESS,
            None => "",
        };
        (options(format), another)
    }

    /// A finding whose commands were made where nobody knows the trust file: they sign in the format of who signed the commit,
    /// if that is known, else in one that somebody has.
    pub(crate) fn fit(&self, finding: Finding, signed: Option<SignatureFormat>) -> Finding {
        let made = git(SIGN);
        let format = signed.or_else(|| self.only());
        if format == Some(SignatureFormat::Ssh) || !finding.fix.contains(&made) {
            return finding;
        }
        let fix = finding.fix.replace(&made, &git(options(format)));
        let fix = if format.is_none() { self.noted(fix) } else { fix };
        Finding { fix: fix.into(), ..finding }
    }
}

const fn options(format: Option<SignatureFormat>) -> &'static str {
    match format {
        Some(SignatureFormat::Ssh) => SIGN,
        Some(SignatureFormat::OpenPgp) => SIGN_OPENPGP,
        Some(SignatureFormat::Keyless) => SIGN_KEYLESS,
        None => "",
    }
}

fn of_whom(what: &str, names: &[String]) -> String {
    if names.is_empty() { what.to_owned() } else { format!("{what} ({})", list(names.iter().map(String::as_str))) }
}

/// A remark behind a command, and behind what is remarked there already.
pub(crate) fn remark(command: &str, remark: &str) -> String {
    let mark = if has_remark(command) { ";" } else { " #" };
    format!("{command}{mark} {remark}")
}

/// Whether a shell takes the end of a command for a remark: a `#` begins one where a word may begin, outside of quotes.
fn has_remark(command: &str) -> bool {
    let (mut quote, mut is_escaped, mut begins_word) = (None, false, true);
    for character in command.chars() {
        let is_literal = std::mem::take(&mut is_escaped);
        match (quote, character) {
            _ if is_literal => {}
            (Some(open), _) if character == open => quote = None,
            (None | Some('"'), '\\') => is_escaped = true,
            (None, '\'' | '"') => quote = Some(character),
            (None, '#') if begins_word => return true,
            _ => {}
        }
        begins_word = !is_literal && quote.is_none() && (character.is_whitespace() || ";&|(".contains(character));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::remark;

    #[test]
    fn a_remark_stands_behind_the_command_as_a_shell_reads_it() {
        for (command, mark) in [
            ("git push", " #"),
            ("git push # as alice", ";"),
            ("git rm -- 'a # b'", " #"),
            ("git rm -- 'a # b' # as alice", ";"),
            (r"git rm -- 'it'\''s # b'", " #"),
            (r#"git -c x="$(a || echo \" # \")" push"#, " #"),
            (r"git rm -- a\ #b", " #"),
            ("git show HEAD#1", " #"),
            ("true;#", ";"),
        ] {
            assert_eq!(remark(command, "or so"), format!("{command}{mark} or so"));
        }
    }
}
