//! Certificate authorities made at run time.

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A certificate authority that exists only for one test server.
pub struct Authority {
    common_name: String,
    certificate: String,
    key: String,
}

impl Authority {
    /// A new authority with an ECDSA P-256 key.
    pub fn generate(common_name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate =
            parameters(common_name).self_signed(&key).context("cannot sign the authority's certificate")?;
        Ok(Self { common_name: common_name.to_owned(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The authority that was stored as its two PEM texts.
    pub fn from_pem(common_name: &str, issued: Issued) -> Self {
        Self { common_name: common_name.to_owned(), certificate: issued.certificate, key: issued.key }
    }

    /// The authority's own certificate, PEM: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's private key, PEM: to hand the authority to another process of the same test run.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A serving certificate for DNS names and IP addresses.
    pub fn server(&self, names: &[&str]) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut request = CertificateParams::new(names).context("cannot name the server")?;
        request.distinguished_name = named("server", None);
        request.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(request)
    }

    /// A client certificate as Kubernetes reads it: common name = user, organisation = group. The certificate library keeps one
    /// value per attribute, hence at most one group.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Issued> {
        let group = match groups {
            [] => None,
            [group] => Some(*group),
            more => bail!(
                "a client certificate made here carries at most one group, not {}: {}",
                more.len(),
                more.join(", ")
            ),
        };
        let mut request = CertificateParams::default();
        request.distinguished_name = named(user, group);
        request.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(request)
    }

    fn sign(&self, mut request: CertificateParams) -> Result<Issued> {
        request.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        request.use_authority_key_identifier_extension = true;
        let authority_key = KeyPair::from_pem(&self.key).context("cannot read the authority's key")?;
        // Name and key decide what an issuer is, so the parameters can be made again instead of parsing the certificate.
        let issuer = Issuer::new(parameters(&self.common_name), authority_key);
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = request.signed_by(&key, &issuer).context("cannot sign a certificate")?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn parameters(common_name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(common_name, None);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    parameters
}

fn named(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common_name);
    name
}
