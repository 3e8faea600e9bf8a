//! People and machines that only these stories have.

use std::collections::BTreeMap;

use anyhow::Result;
use testkit::{Gpg, KeyType, Keys, PrincipalKind, Push, SigningKey, TrustFile};

use crate::stage::Stage;

/// An OpenPGP key, with its certificate.
struct OpenPgp {
    /// Fingerprint in hex.
    key: String,
    certificate: String,
}

/// Everybody beside the usual team.
pub(crate) struct Cast {
    /// Of olga: its time is over.
    pub(crate) ended: SigningKey,
    /// Of theo: revoked.
    pub(crate) revoked: SigningKey,
    /// Of relbot, a machine.
    pub(crate) robot: SigningKey,
    /// Of hub, where people press buttons.
    pub(crate) forge: SigningKey,
    /// Makes the signatures of those below.
    gpg: Gpg,
    /// Who signs with OpenPGP: gina is in force, gerd has revoked his key, the time of gero's is over.
    openpgp: BTreeMap<&'static str, OpenPgp>,
    /// An OpenPGP key that nobody knows.
    pub(crate) unknown: String,
    _keys: Keys,
}

impl Cast {
    pub(crate) fn new(stage: &mut Stage<'_>) -> Result<Self> {
        let (keys, gpg) = (Keys::new()?, Gpg::new()?);
        let key = |name| keys.generate(name, KeyType::Ed25519);
        let (ended, revoked, robot, forge) = (key("olga")?, key("theo")?, key("relbot")?, key("hub")?);
        for key in [&ended, &revoked, &robot, &forge] {
            stage.names.call(&key.fingerprint()?, &format!("key of {}", key.principal()));
            stage.names.call(key.public(), &format!("public key of {}", key.principal()));
        }
        let mut openpgp = BTreeMap::new();
        for (name, algorithm, expires) in
            [("gina", "rsa3072", "never"), ("gerd", "ed25519", "never"), ("gero", "ed25519", "20260601T000000")]
        {
            let key = gpg.generate(name, algorithm, expires)?;
            stage.names.call(&key, &format!("OpenPGP key of {name}"));
            let certificate = if name == "gerd" { gpg.export_revoked(&key)? } else { gpg.export(&key)? };
            openpgp.insert(name, OpenPgp { key, certificate });
        }
        let unknown = gpg.generate("nobody", "ed25519", "never")?;
        stage.names.call(&unknown, "OpenPGP key of nobody");
        Ok(Self { ended, revoked, robot, forge, gpg, openpgp, unknown, _keys: keys })
    }

    /// An OpenPGP signature by gina, gerd, gero, or nobody.
    pub(crate) fn sign(&self, name: &str, arguments: &[&str], bytes: &str) -> Result<String> {
        let key = self.openpgp.get(name).map_or(&self.unknown, |openpgp| &openpgp.key);
        self.gpg.sign(key, arguments, bytes.as_bytes())
    }

    /// Puts the certificates into the work tree, where the trust file expects them.
    pub(crate) fn write_certificates(&self, stage: &Stage<'_>) -> Result<()> {
        self.openpgp
            .iter()
            .try_for_each(|(name, openpgp)| stage.repo.write(&format!(".writ/keys/{name}.asc"), &openpgp.certificate))
    }

    /// The trust file with them, without what it revokes and without the rule for itself.
    pub(crate) fn file(&self, stage: &Stage<'_>) -> TrustFile {
        let people = &stage.people;
        let file = TrustFile::new(&format!("urn:writ:{}", stage.view.namespace));
        let file = [&people.root, &people.security, &people.sre, &self.revoked]
            .into_iter()
            .fold(file, |file, key| file.principal(key.principal(), PrincipalKind::Human, &[key]));
        let file = self.openpgp.iter().fold(file, |file, (name, openpgp)| {
            file.openpgp(name, &openpgp.key, &manifest::Digest::of(openpgp.certificate.as_bytes()).to_string())
        });
        file.principal_until("olga", PrincipalKind::Human, &[(&self.ended, Some("2026-06-01T00:00:00Z"))])
            .principal("relbot", PrincipalKind::Robot, &[&self.robot])
            .principal("hub", PrincipalKind::Forge, &[&self.forge])
            .role("root", &["ruth"])
            .role("security", &["sena", "relbot"])
            .role("sre", &["sam", "olga", "theo", "gina", "gerd", "gero"])
            .role("pair", &["ruth", "sena"])
            .rule(
                "policies",
                &["policies/**"],
                &[("security", 1)],
                &["admissionregistration.k8s.io/ValidatingAdmissionPolicy*"],
            )
            .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
            .rule("notes", &[".writ/notes/**"], &[("pair", 2)], &[])
    }

    /// The same, in force: who signs it, and whose key is revoked.
    pub(crate) fn whole(&self, stage: &Stage<'_>) -> Result<TrustFile> {
        Ok(self
            .file(stage)
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .revoke_key(&self.revoked.fingerprint()?, "laptop lost"))
    }
}

/// Pushes a trust file that ruth signs, as she does the commit.
pub(crate) fn push_trust_file(stage: &mut Stage<'_>, file: &TrustFile) -> Result<String> {
    stage.repo.write(".writ/trust.yaml", file.text())?;
    stage.repo.sign_trust_file(&stage.people.root)?;
    let commit = stage.repo.commit_signed(&stage.people.root, "change trust")?;
    stage.push(Push::FastForward)?;
    Ok(commit)
}
