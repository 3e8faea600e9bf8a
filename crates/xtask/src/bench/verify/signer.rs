//! Keys made at run time, and signatures in the forms that `ssh-keygen -Y sign` and gpg write: ten thousand are made in the time in
//! which ssh-keygen is started a hundred times.

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{
    digest::{SHA512, SHA512_OUTPUT_LEN, digest},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::openpgp::{Certificate, Material};

/// Digits of base64 in a line of ssh-keygen's armour.
const LINE: usize = 70;

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ed25519,
    Rsa3072,
    EcdsaP256,
    OpenPgpEd25519,
    OpenPgpRsa3072,
}

/// A key, and who holds it: nobody but this process.
pub(super) struct Signer {
    algorithm: Algorithm,
    pair: Pair,
    /// If it signs as gpg does.
    certificate: Option<Certificate>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// A signature, as Git stores it and as the maths library has it.
pub(super) struct Signed {
    /// With its armour.
    pub(super) armoured: String,
    /// The bytes that the library verifies.
    pub(super) plain: Vec<u8>,
}

impl Algorithm {
    /// All that are measured.
    pub(super) const ALL: [Self; 5] =
        [Self::Ed25519, Self::Rsa3072, Self::EcdsaP256, Self::OpenPgpEd25519, Self::OpenPgpRsa3072];

    /// Its name in ratios and figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh_ed25519",
            Self::Rsa3072 => "ssh_rsa3072",
            Self::EcdsaP256 => "ssh_ecdsa256",
            Self::OpenPgpEd25519 => "openpgp_ed25519",
            Self::OpenPgpRsa3072 => "openpgp_rsa3072",
        }
    }

    const fn key_type(self) -> &'static str {
        match self {
            Self::Ed25519 | Self::OpenPgpEd25519 => "ssh-ed25519",
            Self::Rsa3072 | Self::OpenPgpRsa3072 => "ssh-rsa",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
        }
    }
}

impl Signer {
    /// A new key; one of OpenPGP is made at this second, as all its signatures say that they are.
    pub(super) fn generate(algorithm: Algorithm, created: i64) -> Result<Self> {
        let failed = |_| anyhow!("cannot make a key of type {}", algorithm.key_type());
        let pair = match algorithm {
            Algorithm::Ed25519 | Algorithm::OpenPgpEd25519 => {
                Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?)
            }
            Algorithm::Rsa3072 | Algorithm::OpenPgpRsa3072 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?)
            }
            Algorithm::EcdsaP256 => {
                Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?)
            }
        };
        let material = match (algorithm, &pair) {
            (Algorithm::OpenPgpEd25519, Pair::Ed25519(pair)) => {
                Some(Material::Ed25519(pair.public_key().as_ref().to_vec()))
            }
            (Algorithm::OpenPgpRsa3072, Pair::Rsa(pair)) => Some(Material::Rsa {
                modulus: pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
                exponent: pair.public_key().exponent().big_endian_without_leading_zero().to_vec(),
            }),
            _ => None,
        };
        let created = u32::try_from(created).context("OpenPGP counts seconds until 2106")?;
        let certificate = material.map(|material| Certificate::new(&material, created)).transpose()?;
        Ok(Self { algorithm, pair, certificate })
    }

    /// What gpg knows of the key, if it is one of OpenPGP.
    pub(super) const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// That in the form that `gpg --armor --export` prints.
    pub(super) fn exported(&self) -> Result<Option<String>> {
        self.certificate.as_ref().map(|certificate| certificate.armoured(|message| self.plain(message))).transpose()
    }

    /// The binary form of the public key.
    fn blob(&self) -> Result<Vec<u8>> {
        let mut blob = Vec::new();
        put_string(&mut blob, self.algorithm.key_type().as_bytes())?;
        match &self.pair {
            Pair::Ed25519(pair) => put_string(&mut blob, pair.public_key().as_ref())?,
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                put_number(&mut blob, key.exponent().big_endian_without_leading_zero())?;
                put_number(&mut blob, key.modulus().big_endian_without_leading_zero())?;
            }
            Pair::Ecdsa(pair) => {
                put_string(&mut blob, b"nistp256")?;
                put_string(&mut blob, pair.public_key().as_ref())?;
            }
        }
        Ok(blob)
    }

    /// The public key as a line of a `.pub` file, without comment.
    pub(super) fn public(&self) -> Result<String> {
        Ok(format!("{} {}", self.algorithm.key_type(), STANDARD.encode(self.blob()?)))
    }

    /// Signs a message, as ssh-keygen does for a purpose, or as gpg does.
    pub(super) fn sign(&self, namespace: &str, message: &[u8]) -> Result<Signed> {
        if let Some(certificate) = &self.certificate {
            let message = [message, &certificate.after_document()?].concat();
            let plain = self.plain(&message)?;
            return Ok(Signed { armoured: certificate.detached(&message, &plain)?, plain });
        }
        let plain = self.plain(&signed_bytes(namespace, message)?)?;
        Ok(Signed { armoured: armour(&self.sshsig(namespace, &plain)?)?, plain })
    }

    /// The bytes that the maths library verifies for a message; a digest where OpenPGP has the key sign one.
    pub(super) fn verified_bytes(&self, namespace: &str, message: &[u8]) -> Result<Vec<u8>> {
        let Some(certificate) = &self.certificate else { return signed_bytes(namespace, message) };
        let message = [message, &certificate.after_document()?].concat();
        Ok(match self.pair {
            Pair::Ed25519(_) => digest(&SHA512, &message).as_ref().to_vec(),
            Pair::Rsa(_) | Pair::Ecdsa(_) => message,
        })
    }

    /// A signature over the whole of a message, with SHA-512.
    fn plain(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| anyhow!("cannot sign");
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Ed25519(pair) if self.certificate.is_some() => {
                pair.sign(digest(&SHA512, message).as_ref()).as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut plain = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA512, &random, message, &mut plain).map_err(failed)?;
                plain
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).map_err(failed)?.as_ref().to_vec(),
        })
    }

    /// The form that ssh-keygen puts into its armour.
    fn sshsig(&self, namespace: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut signature = Vec::new();
        match &self.pair {
            Pair::Ed25519(_) => {
                put_string(&mut signature, b"ssh-ed25519")?;
                put_string(&mut signature, plain)?;
            }
            Pair::Rsa(_) => {
                put_string(&mut signature, b"rsa-sha2-512")?;
                put_string(&mut signature, plain)?;
            }
            Pair::Ecdsa(_) => {
                put_string(&mut signature, self.algorithm.key_type().as_bytes())?;
                let (r, s) = plain.split_at_checked(plain.len() / 2).context("half of a signature")?;
                let mut numbers = Vec::new();
                put_number(&mut numbers, r)?;
                put_number(&mut numbers, s)?;
                put_string(&mut signature, &numbers)?;
            }
        }
        let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
        for part in [&self.blob()?, namespace.as_bytes(), b"", b"sha512", &signature] {
            put_string(&mut blob, part)?;
        }
        Ok(blob)
    }

    /// The public key, ready for the maths library: what can be done once is not part of the raw rate.
    pub(super) fn verifier(&self) -> Result<ParsedPublicKey> {
        let rejected = |_| anyhow!("the library does not take back its own key");
        match &self.pair {
            Pair::Ed25519(pair) => ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()),
            Pair::Rsa(pair) => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, pair.public_key().as_ref()),
            Pair::Ecdsa(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
        }
        .map_err(rejected)
    }
}

/// The bytes that the key signs: a digest of the message, in a frame that says what for.
fn signed_bytes(namespace: &str, message: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + SHA512_OUTPUT_LEN);
    out.extend_from_slice(b"SSHSIG");
    for part in [namespace.as_bytes(), b"", b"sha512", digest(&SHA512, message).as_ref()] {
        put_string(&mut out, part)?;
    }
    Ok(out)
}

fn armour(blob: &[u8]) -> Result<String> {
    let digits = STANDARD.encode(blob);
    let mut text = "-----BEGIN SSH SIGNATURE-----\n".to_owned();
    for line in digits.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).context("base64 is ASCII")?);
        text.push('\n');
    }
    text.push_str("-----END SSH SIGNATURE-----\n");
    Ok(text)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let length = u32::try_from(bytes.len()).context("more than 4 GiB in one signature")?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// A positive number: no superfluous zeros before it, one where its first bit would be a sign.
fn put_number(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    let mut number = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_some_and(|first| *first >= 0x80) {
        number.push(0);
    }
    number.extend_from_slice(digits);
    put_string(out, &number)
}
