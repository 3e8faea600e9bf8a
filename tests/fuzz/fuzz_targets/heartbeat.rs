//! What lies under the ref of heartbeats: nobody here has a key, so nothing counts.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use trust::{TrustFile, TrustRootSpec, Verifiers, hear};

/// The base point of the curve: a key that is well formed, and that nobody holds.
fn public_key() -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20\x58".to_vec();
    blob.extend([0x66; 31]);
    format!("ssh-ed25519 {}", STANDARD.encode(blob))
}

fn trust_file(key: &str) -> TrustFile {
    let text = format!(
        "apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: urn:x\nref: refs/heads/main\nversion: 1\n\
         expires: 2099-01-01T00:00:00Z\nprincipals:\n  a: {{kind: human, keys: [{{ssh: \"{key}\"}}]}}\nroles: {{root: [a]}}\n\
         rules:\n  - {{name: trust, paths: [\".writ/**\"], anyOf: [{{role: root, threshold: 1}}]}}\n"
    );
    TrustFile::parse(text.as_bytes()).expect("a trust file")
}

fn root(key: &str) -> TrustRootSpec {
    let digest = "0".repeat(64);
    let root = serde_json::json!({
        "repoId": "urn:x", "ref": "refs/heads/main",
        "introduction": {
            "commit": "0".repeat(40), "payloadSha256": digest,
            "signer": format!("SHA256:{}", STANDARD.encode([0; 32]).trim_end_matches('=')),
        },
        "rootKeys": {"threshold": 1, "keys": [key]},
    });
    serde_json::from_value(root).expect("a TrustRoot")
}

fuzz_target!(|bytes: &[u8]| {
    let key = public_key();
    let envelopes: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let heard = hear(&envelopes, &root(&key), &trust_file(&key), now, Verifiers::default());
    assert!(heard.is_err(), "a heartbeat that nobody signed");
});
