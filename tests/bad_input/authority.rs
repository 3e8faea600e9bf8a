//! Keys, rights and trust files: the codes that no other test shows. One stage serves several stories; each begins at the last good
//! commit.

use anyhow::Result;
use testkit::Push;

use super::Lent;
use crate::attacks::{Arena, Cast, Told, push_trust_file, refusal, with_signature};
use crate::stage::{Setup, Stage, Test, config_map};

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
    let mut stage = Setup::shared()?.start()?;
    let cast = Cast::new(&mut stage)?;
    cast.write_certificates(&stage)?;
    let file = cast.whole(&stage)?.version(2);
    let commit = push_trust_file(&mut stage, &file)?;
    stage.applied(&commit)?;
    stage.names.call_commit(&commit, "trust commit");

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
    let expired = Told {
        name: "trust-file-expired",
        title: "A trust file that has expired",
        done: "the trust file expired on 2026-06-01 and a week has passed; sam signs a change of apps/settings.yaml; git push",
        code: "W508",
    };
    refusal(&mut stage, &expired, |stage| stage.change("apps/settings.yaml", &config_map("settings", "bad")))?;
    let renewed = push_renewal(&mut stage, &cast)?;
    stage.applied(&renewed)?;
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
