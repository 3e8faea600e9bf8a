//! Keys, rights and trust files: the codes that no other test shows.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use testkit::{Account, Flaw, Push, Sigstore};

use super::{Lent, Pooled};
use crate::attacks::{Arena, Cast, Told, push_trust_file, refusal, with_signature};
use crate::stage::{Setup, Stage, Test, View, config_map, team};

#[test]
fn threshold_not_met() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let threshold = Told {
        name: "threshold-not-met",
        title: "One signer where a rule wants two",
        done: "the rule for .writ/notes/ wants two of ruth and sena; ruth alone signs a commit that adds a file there; git push",
        code: "W303",
    };
    refusal(&mut arena.stage, &threshold, |stage| {
        stage.repo.write(".writ/notes/who.txt", "who may do what\n")?;
        let commit = stage.repo.commit_signed(&stage.people.root, "a note")?;
        stage.push(Push::FastForward)?;
        Ok(commit)
    })
}

/// W506, W508: a trust file that would lock everybody out, and one that is too old.
#[test]
fn trust_file_that_locks_itself_and_one_that_has_expired() -> Test {
    // None of the pool: it advances.
    let Arena { mut stage, cast } = Arena::make()?;
    let locking = Told {
        name: "trust-file-self-locking",
        title: "A trust file that nobody could ever change again",
        done: "the new trust file wants three signatures of the role root, which only ruth has; ruth signs file and commit; git push",
        code: "W506",
    };
    let locked = cast.file(&stage).rule("trust", &[".writ/**"], &[("root", 3)], &[]);
    let locked = locked.revoke_key(&cast.revoked.fingerprint()?, "laptop lost").version(3);
    refusal(&mut stage, &locking, |stage| push_trust_file(stage, &locked))?;

    // Accepted: only `.writ/` changes. What comes after it is refused until the file is renewed.
    let old = cast.whole(&stage)?.version(3).expires("2026-06-01T00:00:00Z");
    stage.restore()?;
    let commit = push_trust_file(&mut stage, &old)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    // It is told before anything is refused for it.
    let is_told = |stage: &mut Stage<'_>, wanted: &str, word: &str| {
        stage.wait(&format!("TrustFileExpired is {wanted}"), |view| {
            let source = view.source()?;
            let (status, reason, message) = View::condition(&source, "TrustFileExpired");
            ensure!(status == wanted && message.contains(word), "TrustFileExpired={status} {reason}: {message}");
            Ok(())
        })
    };
    is_told(&mut stage, "True", "W508")?;
    let expired = Told {
        name: "trust-file-expired",
        title: "A trust file that has expired",
        done: "the trust file expired on 2026-06-01 and a week has passed; sam signs a change of apps/settings.yaml; git push",
        code: "W508",
    };
    refusal(&mut stage, &expired, |stage| stage.change("apps/settings.yaml", &config_map("settings", "bad")))?;
    let renewed = push_renewal(&mut stage, &cast)?;
    stage.applied(&renewed)?;
    is_told(&mut stage, "False", "")?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer")).map(drop)
}

/// The fix that W508 names: `expires` renewed, version raised, signed, and committed alone.
fn push_renewal(stage: &mut Stage<'_>, cast: &Cast) -> Result<String> {
    stage.restore()?;
    let renewed = cast.whole(stage)?.version(4);
    push_trust_file(stage, &renewed)
}

#[test]
fn signature_of_a_format_that_is_not_supported() -> Test {
    let mut stage = Lent::stage()?;
    let told = Told {
        name: "signature-format-not-supported",
        title: "An OpenPGP signature where nobody has an OpenPGP key",
        done: "a change of apps/settings.yaml carries an OpenPGP signature instead of an SSH signature; git push",
        code: "W208",
    };
    refusal(&mut stage, &told, |stage| {
        with_signature(stage, |_payload| {
            Ok("-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ==\n-----END PGP SIGNATURE-----\n".to_owned())
        })
    })
}

#[test]
fn keyless_signature_without_its_log_entry() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let carol = Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() };
    let file = team(&stage.people, &format!("urn:writ:{}", stage.view.namespace)).version(2).keyless("carol", &carol);
    let commit = push_trust_file(&mut stage, &file)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");
    let told = Told {
        name: "keyless-online-mode",
        title: "A keyless signature without its log entry",
        done: "carol, whose account the trust file names, signs a change of apps/settings.yaml with gitsign in its online mode; git push",
        code: "W205",
    };
    refusal(&mut stage, &told, |stage| {
        with_signature(stage, |payload| {
            let now = Timestamp::now();
            Sigstore::generate(now)?.sign(payload.as_bytes(), &carol, now, &[Flaw::Online])
        })
    })
}
