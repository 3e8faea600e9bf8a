//! Certificates and signatures that no tool writes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;
use support::{
    Bench,
    gpg::{Gpg, SIGN_TIME},
    packets::{
        self, Binding, CERTIFY, Draft, ENCRYPT, KEY_TIME, Key, REVOKED, SIGN, SIGNED, USER, armor, bound, flags,
        old_packet, packet, primary, subpacket, user,
    },
};
use trust::{
    Crypto, Instants,
    openpgp::{Certificate, CertificateError, Keyring, OpenPgpError, OpenPgpVerifier as _, Signature},
};

const MESSAGE: &[u8] = b"message\n";
fn at() -> Instants {
    Instants { committer: Timestamp::from_second(i64::from(SIGNED)).unwrap(), first_sight: None }
}

fn verdict(certificate: &Certificate, armored: &[u8]) -> Result<(), OpenPgpError> {
    Signature::parse(armored)?.verify(certificate, MESSAGE, &Crypto::default(), &at()).map(drop)
}

fn code(certificate: &[u8], armored: &[u8]) -> &'static str {
    let certificate = Certificate::parse(certificate).unwrap();
    verdict(&certificate, armored).map_or_else(|error| error.code().as_str(), |()| "accepted")
}

fn as_gpg(key: &Key, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    packets::as_gpg(key, MESSAGE, change)
}

/// In the form of sq: header of the new format, nothing behind the signed part.
fn as_sq(key: &Key, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = key.draft(0x00, SIGNED, &[]);
    change(&mut draft);
    armor(&packet(2, &key.sign(&draft, MESSAGE)), false)
}

#[test]
fn what_is_crafted_here_is_what_gpg_reads() {
    let key = Key::new(4, 1, KEY_TIME);
    let certificate = primary(&key, SIGN | CERTIFY);
    let armored = as_gpg(&key, |_| {});
    assert_eq!(code(&certificate, &armored), "accepted");
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    gpg.ok(SIGN_TIME, &["--import"], &certificate);
    assert!(gpg.accepts(SIGN_TIME, MESSAGE, &armored));
    assert!(!gpg.accepts(SIGN_TIME, b"other", &armored));
}

#[test]
fn keys_of_both_versions_in_both_forms() {
    for version in [4, 6] {
        let key = Key::new(version, 1, KEY_TIME);
        let certificate = primary(&key, SIGN);
        let parsed = Certificate::parse(&certificate).unwrap();
        assert_eq!(parsed.fingerprint().as_bytes(), key.fingerprint());
        let body = key.sign(&key.draft(0x00, SIGNED, &[]), MESSAGE);
        let forms = [as_gpg(&key, |_| {}), as_sq(&key, |_| {}), armor(&packet(2, &body), true)];
        assert!(forms.iter().all(|form| code(&certificate, form) == "accepted"), "{version}");
        // SHA-512, and the key id in the signed part as well, as sq has it
        let hashed = subpacket(16, &key.key_id());
        assert_eq!(code(&certificate, &as_sq(&key, |draft| draft.hashed.extend(hashed))), "accepted");
        if version == 4 {
            assert_eq!(code(&certificate, &as_gpg(&key, |draft| draft.digest = 10)), "accepted");
        }
        // a key of one version makes no signatures of the other
        let other = Key::new(10 - version, 1, KEY_TIME);
        let draft = Draft { hashed: key.draft(0x00, SIGNED, &[]).hashed, ..other.draft(0x00, SIGNED, &[]) };
        assert_eq!(code(&certificate, &armor(&packet(2, &other.sign(&draft, MESSAGE)), false)), "W201");
    }
}

#[test]
fn every_other_form_of_a_signature_is_refused() {
    let key = Key::new(4, 1, KEY_TIME);
    let other = Key::new(4, 2, KEY_TIME);
    let certificate = primary(&key, SIGN);
    let id = subpacket(16, &key.key_id());
    let body = key.sign(&key.draft(0x00, SIGNED, &[]), MESSAGE);
    let with_id = key.sign(&Draft { unhashed: id.clone(), ..key.draft(0x00, SIGNED, &[]) }, MESSAGE);
    let long = [&[0x89], u16::try_from(with_id.len()).unwrap().to_be_bytes().as_slice(), &with_id].concat();
    let five = [&[0xc2, 255], u32::try_from(body.len()).unwrap().to_be_bytes().as_slice(), &body].concat();
    let partial = [&[0xc2, 0xe5], &body[..32], &[u8::try_from(body.len() - 32).unwrap()], &body[32..]].concat();
    let note = subpacket(20, b"\x80\0\0\0\0\x01\0\x01nv");
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("gpg's without checksum", armor(&old_packet(2, &with_id), false)),
        ("gpg's without key id", armor(&old_packet(2, &body), true)),
        ("gpg's with another key id", as_gpg(&key, |draft| draft.unhashed = subpacket(16, &other.key_id()))),
        ("gpg's with a critical key id", as_gpg(&key, |draft| draft.unhashed = subpacket(0x90, &key.key_id()))),
        ("gpg's with two key ids", as_gpg(&key, |draft| draft.unhashed.extend(&id))),
        ("gpg's with a note behind", as_gpg(&key, |draft| draft.unhashed.extend(&note))),
        ("gpg's with a fingerprint behind", as_gpg(&key, |draft| draft.unhashed = key.issuer())),
        ("gpg's with a long length", armor(&long, true)),
        ("sq's with a key id behind", armor(&packet(2, &with_id), false)),
        ("sq's with a note behind", as_sq(&key, |draft| draft.unhashed = note.clone())),
        ("sq's with a long length", armor(&five, false)),
        ("a partial length", armor(&partial, false)),
        ("an indeterminate length", armor(&[&[0x8b], with_id.as_slice()].concat(), true)),
        ("numbers with zeros before", as_sq(&key, |draft| draft.zeros = 1)),
        ("bytes behind the signature", as_sq(&key, |draft| draft.tail = vec![0])),
        ("another start of the digest", as_sq(&key, |draft| draft.start = 1)),
        ("two packets", armor(&packet(2, &body).repeat(2), false)),
        ("a marker before", armor(&[packet(10, b"PGP"), packet(2, &body)].concat(), false)),
        ("a one-pass signature", armor(&packet(4, &body), false)),
        ("nothing", armor(&[], false)),
        ("a header only", armor(&[0xc2], false)),
    ];
    for (name, armored) in forms {
        assert_eq!(code(&certificate, &armored), "W201", "{name}");
    }
}

#[test]
fn what_the_signed_part_must_and_must_not_say() {
    let key = Key::new(4, 1, KEY_TIME);
    let other = Key::new(4, 2, KEY_TIME);
    let certificate = primary(&key, SIGN);
    let time = subpacket(2, &SIGNED.to_be_bytes());
    let lines = b"\x80\0\0\0\0\x01\0\x09n\n[GNUPG:]";
    let sha1 = key.sign(&Draft { kind: 0x19, ..key.draft(0x19, SIGNED, &[]) }, MESSAGE);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no fingerprint", as_gpg(&key, |draft| draft.hashed = time.clone()), "W201"),
        ("two fingerprints", as_gpg(&key, |draft| draft.hashed.extend(key.issuer())), "W201"),
        (
            "another key's fingerprint",
            as_sq(&key, |draft| draft.hashed = [other.issuer(), time.clone()].concat()),
            "W202",
        ),
        ("no time", as_gpg(&key, |draft| draft.hashed = key.issuer()), "W201"),
        ("two times", as_gpg(&key, |draft| draft.hashed.extend(&time)), "W201"),
        ("another key id", as_sq(&key, |draft| draft.hashed.extend(subpacket(16, &other.key_id()))), "W201"),
        ("a remark with lines", as_sq(&key, |draft| draft.hashed.extend(subpacket(20, lines))), "accepted"),
        ("a critical remark", as_sq(&key, |draft| draft.hashed.extend(subpacket(0x94, lines))), "W201"),
        ("unknown", as_sq(&key, |draft| draft.hashed.extend(subpacket(101, b"x"))), "accepted"),
        ("unknown and critical", as_sq(&key, |draft| draft.hashed.extend(subpacket(0xe5, b"x"))), "W201"),
        ("for somebody", as_sq(&key, |draft| draft.hashed.extend(subpacket(0xa3, &key.issuer()[2..]))), "W201"),
        (
            "a critical time",
            as_sq(&key, |draft| draft.hashed = [key.issuer(), subpacket(0x82, &SIGNED.to_be_bytes())].concat()),
            "accepted",
        ),
        ("a signature inside", as_sq(&key, |draft| draft.hashed.extend(subpacket(32, &sha1))), "W201"),
        ("a target", as_sq(&key, |draft| draft.hashed.extend(subpacket(31, &[22, 8, 0, 0]))), "W201"),
        ("ended when made", as_sq(&key, |draft| draft.hashed.extend(subpacket(3, &[0, 0, 0, 1]))), "accepted"),
        ("text", as_gpg(&key, |draft| draft.kind = 0x01), "W201"),
        ("standalone", as_gpg(&key, |draft| draft.kind = 0x02), "W201"),
        ("a certification", as_gpg(&key, |draft| draft.kind = 0x10), "W201"),
        ("a timestamp", as_gpg(&key, |draft| draft.kind = 0x40), "W201"),
        ("SHA-1", as_gpg(&key, |draft| draft.digest = 2), "W203"),
        ("MD5", as_gpg(&key, |draft| draft.digest = 1), "W203"),
        ("SHA3-256", as_gpg(&key, |draft| draft.digest = 12), "W208"),
        ("no digest", as_gpg(&key, |draft| draft.digest = 99), "W208"),
        ("version 3", as_gpg(&key, |draft| draft.version = 3), "W208"),
        ("version 5", as_gpg(&key, |draft| draft.version = 5), "W208"),
        ("RSA", as_gpg(&key, |draft| draft.algorithm = 1), "W201"),
        ("ECDSA", as_gpg(&key, |draft| draft.algorithm = 19), "W201"),
    ];
    for (name, armored, expected) in cases {
        assert_eq!(code(&certificate, &armored), expected, "{name}");
    }
    // of two ends the earlier one counts
    let ends = [subpacket(3, &[0, 0, 0, 0]), subpacket(3, &[0, 0, 0, 9]), subpacket(3, &[0, 1, 0, 0])].concat();
    let armored = as_sq(&key, |draft| draft.hashed.extend(ends));
    let later = Timestamp::from_second(i64::from(SIGNED) + 9).unwrap();
    let verified = Signature::parse(&armored).unwrap().verify(
        &Certificate::parse(&certificate).unwrap(),
        MESSAGE,
        &Crypto::default(),
        &Instants { committer: later, first_sight: None },
    );
    assert!(matches!(verified, Err(OpenPgpError::SignatureTime { .. })), "{verified:?}");
}

#[test]
fn subkeys_must_be_bound_in_both_directions() {
    for version in [4, 6] {
        let main = Key::new(version, 1, KEY_TIME);
        let subkey = Key::new(version, 2, KEY_TIME);
        let stranger = Key::new(version, 3, KEY_TIME);
        let armored = as_sq(&subkey, |_| {});
        let certificate = |rest: Vec<u8>| [primary(&main, CERTIFY), rest].concat();
        let binding = || Binding { by: &main, flags: SIGN, back: Some(&subkey), digest: 8, hashed: Vec::new() };
        let check = |binding: Binding<'_>| code(&certificate(bound(&main, &subkey, &binding, true)), &armored);
        assert_eq!(check(binding()), "accepted");
        let behind = bound(&main, &subkey, &binding(), false);
        assert_eq!(code(&certificate(behind), &armored), "accepted", "the subkey vouches for it wherever it stands");
        assert_eq!(check(Binding { back: None, ..binding() }), "W204", "no back-signature");
        assert_eq!(check(Binding { back: Some(&main), ..binding() }), "W204", "a back-signature by the primary key");
        assert_eq!(check(Binding { by: &stranger, ..binding() }), "W204", "bound by another key");
        assert_eq!(check(Binding { flags: ENCRYPT, ..binding() }), "W204", "for encryption");
        assert_eq!(check(Binding { hashed: subpacket(0xe5, b"x"), ..binding() }), "W204", "critical, not understood");
        assert_eq!(code(&certificate(packet(14, &subkey.body())), &armored), "W204", "not bound at all");
        if version == 4 {
            assert_eq!(check(Binding { digest: 2, ..binding() }), "W203", "bound over SHA-1");
        }
        // somebody's signing key is claimed by a stranger's certificate
        let claimed = Binding { by: &stranger, back: None, ..binding() };
        let thief = [primary(&stranger, CERTIFY), bound(&stranger, &subkey, &claimed, true)].concat();
        assert_eq!(code(&thief, &armored), "W204");
        let both = [thief, certificate(bound(&main, &subkey, &binding(), true))].concat();
        let keyring = Keyring::parse(&both).unwrap();
        let verified = keyring.verify_openpgp(&armored, MESSAGE, &Crypto::default(), &at()).unwrap();
        assert_eq!(verified.certificate().as_bytes(), main.fingerprint());
    }
}

#[test]
fn the_primary_key_must_be_vouched_for_by_itself() {
    let key = Key::new(4, 1, KEY_TIME);
    let stranger = Key::new(4, 3, KEY_TIME);
    let armored = as_gpg(&key, |_| {});
    let about = [key.hashed(), user(USER)].concat();
    let certified = |draft: &Draft, by: &Key| {
        [packet(6, &key.body()), packet(13, USER.as_bytes()), packet(2, &by.sign(draft, &about))].concat()
    };
    let draft = |more: &[u8]| key.draft(0x13, KEY_TIME, more);
    let signs = flags(SIGN);
    let ends = |days: u32| subpacket(9, &(days * 86_400).to_be_bytes());
    let with = |more: &[&[u8]]| certified(&draft(&more.concat()), &key);
    let later = |more: &[&[u8]]| packet(2, &key.sign(&key.draft(0x13, KEY_TIME + 1, &more.concat()), &about));
    let revoked = |time: u32| packet(2, &key.sign(&key.draft(0x30, time, &[]), &about));
    let direct = [packet(6, &key.body()), packet(2, &key.sign(&key.draft(0x1f, KEY_TIME, &signs), &key.hashed()))];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing but the key", packet(6, &key.body()), "W204"),
        ("no flags", certified(&draft(&[]), &key), "W204"),
        ("not for signing", primary(&key, CERTIFY), "W204"),
        ("directly", direct.concat(), "accepted"),
        ("by another key", certified(&draft(&signs), &stranger), "W204"),
        ("over SHA-1", certified(&Draft { digest: 2, ..draft(&signs) }, &key), "W203"),
        ("with a critical remark", with(&[&signs, &subpacket(0x94, b"\x80\0\0\0\0\x01\0\x01nv")]), "W204"),
        ("ended before", with(&[&signs, &ends(300)]), "W204"),
        ("ending after", with(&[&signs, &ends(400)]), "accepted"),
        ("extended", [with(&[&signs, &ends(300)]), later(&[&signs, &ends(400)])].concat(), "accepted"),
        ("cut short", [with(&[&signs, &ends(400)]), later(&[&signs, &ends(300)])].concat(), "W204"),
        ("later not for signing", [with(&[&signs]), later(&[&flags(CERTIFY)])].concat(), "W204"),
        ("a later word on other things", [with(&[&signs]), later(&[])].concat(), "accepted"),
        ("its user id revoked", [with(&[&signs]), revoked(KEY_TIME)].concat(), "W204"),
        ("certified after that", [with(&[&signs]), revoked(KEY_TIME), later(&[&signs])].concat(), "accepted"),
        ("a statement that has ended", with(&[&signs, &subpacket(3, &[0, 0, 0, 9])]), "W204"),
    ];
    for (name, certificate, expected) in cases {
        assert_eq!(code(&certificate, &armored), expected, "{name}");
    }
}

#[test]
fn which_revocations_count() {
    let key = Key::new(4, 1, KEY_TIME);
    let stranger = Key::new(4, 3, KEY_TIME);
    let armored = as_gpg(&key, |_| {});
    let revocation = |by: &Key, reason: Option<u8>, change: &dyn Fn(&mut Draft)| {
        let more = reason.map(|reason| subpacket(29, &[reason])).unwrap_or_default();
        let mut draft = by.draft(0x20, REVOKED, &more);
        change(&mut draft);
        packet(2, &by.sign(&draft, &key.hashed()))
    };
    let rest = primary(&key, SIGN)[packet(6, &key.body()).len()..].to_vec();
    let certificate = |direct: Vec<u8>| [packet(6, &key.body()), direct, rest.clone()].concat();
    let as_is: &dyn Fn(&mut Draft) = &|_| {};
    let class = [&[0x80, 22], stranger.fingerprint().as_slice()].concat();
    let names = packet(2, &key.sign(&key.draft(0x1f, KEY_TIME, &subpacket(12, &class)), &key.hashed()));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("none", Vec::new(), "accepted"),
        ("no reason subpacket", revocation(&key, None, as_is), "W304"),
        ("no reason", revocation(&key, Some(0), as_is), "W304"),
        ("superseded later", revocation(&key, Some(1), as_is), "accepted"),
        ("compromised", revocation(&key, Some(2), as_is), "W304"),
        ("retired later", revocation(&key, Some(3), as_is), "accepted"),
        ("an unknown reason", revocation(&key, Some(42), as_is), "W304"),
        ("two reasons", revocation(&key, Some(3), &|draft| draft.hashed.extend(subpacket(29, &[1]))), "W304"),
        ("retired, of no time", revocation(&key, Some(3), &|draft| draft.hashed = subpacket(29, &[3])), "W304"),
        ("over SHA-1, which cannot be checked", revocation(&key, None, &|draft| draft.digest = 2), "W304"),
        ("of another key's make", revocation(&stranger, None, as_is), "accepted"),
        (
            "forged in its name",
            revocation(&stranger, None, &|draft| draft.hashed = key.draft(0x20, REVOKED, &[]).hashed),
            "accepted",
        ),
        ("by a designated revoker", [names.clone(), revocation(&stranger, None, as_is)].concat(), "W304"),
        ("a designated revoker alone", names, "accepted"),
    ];
    for (name, direct, expected) in cases {
        assert_eq!(code(&certificate(direct), &armored), expected, "{name}");
    }
}

#[test]
fn subkeys_are_revoked_for_themselves() {
    let main = Key::new(4, 1, KEY_TIME);
    let subkey = Key::new(4, 2, KEY_TIME);
    let about = [main.hashed(), subkey.hashed()].concat();
    let binding = Binding { by: &main, flags: SIGN, back: Some(&subkey), digest: 8, hashed: Vec::new() };
    let whole = [primary(&main, CERTIFY | SIGN), bound(&main, &subkey, &binding, true)].concat();
    for (reason, time, expected) in [(0, REVOKED, "W304"), (3, REVOKED, "accepted"), (3, SIGNED, "W304")] {
        let draft = main.draft(0x28, time, &subpacket(29, &[reason]));
        let certificate = [whole.clone(), packet(2, &main.sign(&draft, &about))].concat();
        assert_eq!(code(&certificate, &as_sq(&subkey, |_| {})), expected, "{reason} {time}");
        assert_eq!(code(&certificate, &as_sq(&main, |_| {})), "accepted", "the primary key is not concerned");
    }
}

#[test]
fn what_is_no_certificate() {
    let key = Key::new(4, 1, KEY_TIME);
    let good = primary(&key, SIGN);
    let subkey = packet(14, &Key::new(4, 2, KEY_TIME).body());
    let body = |version: u8| packet(6, &[&[version], &key.body()[1..]].concat());
    let packets = |reason: &'static str| CertificateError::Packets(reason);
    let cases: Vec<(&str, Vec<u8>, CertificateError)> = vec![
        ("nothing", Vec::new(), CertificateError::Form),
        ("a signature", packet(2, &[4]), packets("the first is not a public key")),
        ("a private key", packet(5, &key.body()), CertificateError::Private),
        ("a private subkey", [good.clone(), packet(7, &key.body())].concat(), CertificateError::Private),
        ("two", [good.clone(), primary(&Key::new(4, 2, KEY_TIME), SIGN)].concat(), CertificateError::Several),
        ("version 3", body(3), CertificateError::Version(3)),
        ("version 5", body(5), CertificateError::Version(5)),
        ("a subkey twice", [good.clone(), subkey.repeat(2)].concat(), packets("the same key twice")),
        ("itself as a subkey", [good.clone(), packet(14, &key.body())].concat(), packets("the same key twice")),
        (
            "a subkey of another version",
            [good.clone(), packet(14, &Key::new(6, 2, KEY_TIME).body())].concat(),
            packets("a subkey of another version than the primary key"),
        ),
        ("data", [good.clone(), packet(11, b"b\0\0\0\0\0x")].concat(), packets("a kind that has no place in it")),
        ("too many user ids", [good.clone(), packet(13, b"x").repeat(128)].concat(), CertificateError::TooManyPackets),
        (
            "too many packets",
            [good.clone(), packet(10, b"PGP").repeat(4096)].concat(),
            CertificateError::TooManyPackets,
        ),
        ("too large", [good.clone(), packet(13, &vec![b'x'; 1 << 20])].concat(), CertificateError::TooLarge),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(Certificate::parse(&bytes), Err(error), "{name}");
    }
    assert_eq!(Keyring::parse(&good.repeat(2)), Err(CertificateError::Several));
    // a cut anywhere within a packet is seen; one between packets leaves less that is vouched for
    for length in 1..good.len() {
        match Certificate::parse(&good[..length]) {
            Ok(cut) => assert!(verdict(&cut, &as_gpg(&key, |_| {})).is_err(), "{length}"),
            Err(error) => assert_eq!(error, packets("not of known length"), "{length}"),
        }
    }
}

static GOOD: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let main = Key::new(4, 1, KEY_TIME);
    let subkey = Key::new(4, 2, KEY_TIME);
    let binding = Binding { by: &main, flags: SIGN, back: Some(&subkey), digest: 8, hashed: Vec::new() };
    let certificate = [primary(&main, CERTIFY), bound(&main, &subkey, &binding, true)].concat();
    (certificate, as_gpg(&subkey, |_| {}))
});

proptest! {
    #[test]
    fn no_edit_of_a_signature_is_accepted(offset in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (certificate, armored) = &*GOOD;
        let mut edited = armored.clone();
        let offset = offset.index(edited.len());
        prop_assume!(edited[offset] != byte);
        edited[offset] = byte;
        prop_assert!(verdict(&Certificate::parse(certificate).unwrap(), &edited).is_err());
    }

    #[test]
    fn no_edit_of_a_packet_is_accepted(offset in any::<prop::sample::Index>(), byte in 1_u8..) {
        let key = Key::new(4, 1, KEY_TIME);
        let mut draft = key.draft(0x00, SIGNED, &[]);
        draft.unhashed = subpacket(16, &key.key_id());
        let mut bytes = old_packet(2, &key.sign(&draft, MESSAGE));
        let offset = offset.index(bytes.len());
        bytes[offset] ^= byte;
        for checksum in [true, false] {
            prop_assert!(verdict(&Certificate::parse(&primary(&key, SIGN)).unwrap(), &armor(&bytes, checksum)).is_err());
        }
    }

    #[test]
    fn no_edit_of_a_certificate_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (certificate, armored) = &*GOOD;
        let mut edited = certificate.clone();
        for (offset, byte) in edits {
            let offset = offset.index(edited.len());
            edited[offset] = byte;
        }
        if let Ok(certificate) = Certificate::parse(&edited) {
            let _verdict = verdict(&certificate, armored);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tag in 0_u8..63) {
        let _error = Certificate::parse(&bytes);
        let _error = Certificate::parse(&packet(tag, &bytes));
        let _error = Signature::parse(&bytes);
        let _error = Signature::parse(&armor(&bytes, true));
        let _error = Signature::parse(&armor(&packet(2, &[&[4, 0, 22, 8], bytes.as_slice()].concat()), false));
        let _error = Signature::parse(&armor(&packet(2, &[&[6, 0, 27, 8], bytes.as_slice()].concat()), false));
    }
}
