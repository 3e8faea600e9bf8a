//! Keys that live in hardware (PROTOCOL.u2f of OpenSSH): the token signs the digest of a message together with what it
//! saw of its user.

use sha2::{Digest as _, Sha256};

use super::wire::{Malformed, Reader};

/// The most bytes of the application of a key: `ssh:`, or the name of a host, which has at most 253.
const MAX_APPLICATION_BYTES: usize = 256;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;

/// What a token asserts with a signature. It is signed, so it holds if the signature fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assertion {
    /// The flags, as the token set them.
    pub flags: u8,
    /// How many signatures the token has made, as it says.
    pub counter: u32,
}

impl Assertion {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = reader.u8()?;
        Ok(Self { flags, counter: reader.u32()? })
    }

    /// Whether the token was touched.
    #[must_use]
    pub const fn user_present(self) -> bool {
        self.flags & USER_PRESENT != 0
    }

    /// Whether the token knew who touched it, by PIN or fingerprint.
    #[must_use]
    pub const fn user_verified(self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    /// The bytes that the token signs for a message.
    pub(super) fn signed_bytes(self, application: &[u8], extensions: &[u8], message: &[u8]) -> Vec<u8> {
        let mut out = Sha256::digest(application).to_vec();
        out.push(self.flags);
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(extensions);
        out.extend_from_slice(&Sha256::digest(message));
        out
    }
}

/// What is asked of the user with each signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserCheck {
    /// Whether the token must have been touched.
    pub presence: UserPresence,
    /// Whether the token must have known its user. Only security keys can prove it.
    pub verification: bool,
}

/// Whether the token must have been touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserPresence {
    /// If the key is a security key; what OpenSSH demands too.
    #[default]
    OfSecurityKeys,
    /// Always, so that only security keys can sign.
    Required,
    /// Never.
    NotRequired,
}

/// What a signature does not prove, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unproven {
    /// After `signed with key SHA256:… `.
    pub(crate) found: &'static str,
    pub(crate) needed: &'static str,
    pub(crate) fix: &'static str,
}

impl UserCheck {
    /// What a signature with this assertion lacks; nothing if it proves all that is asked.
    pub(crate) fn unproven(self, assertion: Option<Assertion>) -> Option<Unproven> {
        let present = match self.presence {
            UserPresence::OfSecurityKeys => assertion.is_none_or(Assertion::user_present),
            UserPresence::Required => assertion.is_some_and(Assertion::user_present),
            UserPresence::NotRequired => true,
        };
        if !present {
            return Some(Unproven {
                found: "without a touch of the security key",
                needed: "a touch of the key (userPresence)",
                fix: "touch the key when it blinks; one that never asks was made with no-touch-required: make another with ssh-keygen -t ed25519-sk",
            });
        }
        let verified = !self.verification || assertion.is_some_and(Assertion::user_verified);
        (!verified).then_some(Unproven {
            found: "without the PIN or fingerprint of its user",
            needed: "a signature for which the key knew its user (userVerification: required)",
            fix: "make a key that always asks, ssh-keygen -t ed25519-sk -O verify-required, and have it listed",
        })
    }
}

/// Why this is no application of a key; nothing if it is one.
pub(super) fn check_application(application: &[u8]) -> Result<(), &'static str> {
    if (1..=MAX_APPLICATION_BYTES).contains(&application.len()) && application.iter().all(u8::is_ascii_graphic) {
        Ok(())
    } else {
        Err("the application of the security key is not 1 to 256 bytes of printable ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_single_bits() {
        for (flags, present, verified) in [(0, false, false), (1, true, false), (4, false, true), (0xff, true, true)] {
            let assertion = Assertion { flags, counter: 0 };
            assert_eq!((assertion.user_present(), assertion.user_verified()), (present, verified), "{flags:#x}");
        }
    }

    #[test]
    fn what_is_asked_is_what_the_token_must_assert() {
        use UserPresence::{NotRequired, OfSecurityKeys, Required};
        let met = |presence, verification, flags: Option<u8>| {
            let assertion = flags.map(|flags| Assertion { flags, counter: 0 });
            UserCheck { presence, verification }.unproven(assertion).is_none()
        };
        let flags = [None, Some(0), Some(1), Some(4), Some(5)];
        for (presence, verification, wanted) in [
            (OfSecurityKeys, false, [true, false, true, false, true]),
            (Required, false, [false, false, true, false, true]),
            (NotRequired, false, [true, true, true, true, true]),
            (OfSecurityKeys, true, [false, false, false, false, true]),
            (NotRequired, true, [false, false, false, true, true]),
        ] {
            assert_eq!(flags.map(|flags| met(presence, verification, flags)), wanted, "{presence:?} {verification}");
        }
    }

    #[test]
    fn applications_are_names() {
        assert_eq!(check_application(b"ssh:"), Ok(()));
        for bad in [&b""[..], b"ssh: ", b"ssh:\0", "ssh:é".as_bytes(), &[b'x'; 257]] {
            assert!(check_application(bad).is_err(), "{bad:?}");
        }
    }
}
