//! The codes of this crate: `W1xx` object, `W2xx` signature, `W3xx` authority, `W4xx` history,
//! `W5xx` trust file, `W7xx` override.

manifest::codes! {
    /// Codes of everything that is decided about commits, signatures, authority, history and trust files.
    pub enum TrustCode {
        /// A commit object is not in the one form that writ reads.
        W101 = "MalformedCommit" {
            meaning: "The commit object is not in the one form that Git writes: a header is missing, repeated, out of order or unknown, or the signature armour is not canonical.",
            action: "Make the commit again with an ordinary `git commit --gpg-sign`. A commit that Git itself wrote is never refused by this code; suspect a tool or an attack.",
            example: "W101 MalformedCommit: commit 3f1c2a9d0b7e: a second tree header; needed: the headers tree, parent, author, committer in this order",
        },
        /// More than one signature, or a header that only looks like one.
        W102 = "AmbiguousSignature" {
            meaning: "The commit carries several signatures, the signature header of another object format alone, or a header that merely begins with gpgsig. Git would leave all of them out of the signed bytes, so they could be added by anyone. Two signatures are read where Git writes them (`extensions.compatObjectFormat`): `gpgsig`, then `gpgsig-sha256`, both by one key and each such as this key makes.",
            action: "Make the commit again with an ordinary `git commit --gpg-sign`, and look for what added the header.",
            example: "W102 AmbiguousSignature: commit 3f1c2a9d0b7e: header gpgsigX; needed: at most one gpgsig header and no other that begins with gpgsig",
        },
        /// The object holds a NUL byte or is too large.
        W103 = "OversizeOrNul" {
            meaning: "The object is larger than the limit or holds a NUL byte, which some tools take for its end.",
            action: "Shorten the commit message, or commit again without the NUL byte.",
            example: "W103 OversizeOrNul: commit 3f1c2a9d0b7e: a NUL byte at offset 812; needed: none",
        },
        /// A tree entry whose name is refused.
        W104 = "RefusedName" {
            meaning: "The tree holds a name that is refused: `.`, `..`, a form of `.git`, one with a control character or one that has no width or turns the direction of text, two names that some file systems take for one, or a name that is out of order, so that Git does not find it.",
            action: "Rename the entry.",
            example: "W104 RefusedName: commit 3f1c2a9d0b7e: apps/Web.yaml and apps/web.yaml collide; needed: names that differ in more than case",
        },
        /// A tree entry whose mode is refused.
        W105 = "RefusedMode" {
            meaning: "The tree holds a symbolic link, a submodule, or an entry of unknown mode.",
            action: "Replace it by an ordinary file.",
            example: "W105 RefusedMode: commit 3f1c2a9d0b7e: apps/token is a symbolic link; needed: ordinary files only",
        },
        /// The bytes do not have the id under which they were served, or collide.
        W106 = "ObjectIdMismatch" {
            meaning: "The bytes of the object do not hash to its id, or they were built to collide under SHA-1.",
            action: "Fetch again from a server you trust; report the object. Nothing in the repository can be edited to mend this.",
            example: "W106 ObjectIdMismatch: commit 3f1c2a9d0b7e: its bytes hash to 77aa01b2c3d4; needed: the same id",
        },

        /// The signature does not fit the bytes, or is not in canonical form.
        W201 = "InvalidSignature" {
            meaning: "The signature does not verify over the bytes of the commit, or its encoding is not the canonical one.",
            action: "Sign again: `git commit --amend --no-edit --gpg-sign`.",
            example: "W201 InvalidSignature: commit 3f1c2a9d0b7e: the signature by SHA256:Zx… does not fit the commit; needed: a signature over exactly these bytes",
        },
        /// Nobody known holds the key.
        W202 = "UnknownKey" {
            meaning: "The signature is by a key that belongs to no principal, or with a certificate that stands for none.",
            action: "Sign with a key that is listed, or have the key added by a commit of its own that root principals sign.",
            example: "W202 UnknownKey: commit 3f1c2a9d0b7e: signed by SHA256:Zx…; needed: a key of a principal in .writ/trust.yaml",
        },
        /// Key or digest is weaker than the settings allow.
        W203 = "WeakAlgorithm" {
            meaning: "The key or the digest of the signature is weaker than allowed (short RSA key, SHA-1, a digest or key type not in `crypto`, also the digest of an RSA signature and of an authority's signature on a certificate).",
            action: "Sign with an Ed25519 key: `ssh-keygen -t ed25519`.",
            example: "W203 WeakAlgorithm: commit 3f1c2a9d0b7e: RSA key of 2048 bits; needed: at least 3072 bits",
        },
        /// The key is outside its window.
        W204 = "KeyNotValidThen" {
            meaning: "The key or its certificate was expired, or not valid yet, at the time that counts for this commit.",
            action: "Sign with a key that is valid, or extend its window by a commit of its own.",
            example: "W204 KeyNotValidThen: commit 3f1c2a9d0b7e: the key of alice ended on 2026-06-01; needed: a key valid at 2026-07-02T09:00:00Z",
        },
        /// A keyless signature that nothing dates.
        W205 = "KeylessWithoutTime" {
            meaning: "The keyless signature does not hold the entry of the transparency log that proves when it was made, as gitsign leaves it out in its online mode. Its certificate was valid for ten minutes, so without that time it proves nothing; and what a log server would answer today is not asked.",
            action: "Keep the entry in the signature, `git config gitsign.rekorMode offline`, and sign again.",
            example: "W205 KeylessWithoutTime: commit 3f1c2a9d0b7e: a keyless signature without its log entry, as gitsign makes it in online mode; needed: a signature with its log entry inside (gitsign.rekorMode offline)",
        },
        /// The chain, the log or the identity of a keyless signature is not trusted.
        W206 = "KeylessNotTrusted" {
            meaning: "The certificate of the keyless signature, its entry in the certificate log or in the transparency log, or its time is not vouched for by the trust root of keyless signatures; or all is, and the identity is that of no principal.",
            action: "Sign as an identity that the trust file lists (issuer and identity, letter by letter), with the Sigstore instance that the TrustRoot trusts.",
            example: "W206 KeylessNotTrusted: commit 3f1c2a9d0b7e: signed as eve@example.com of https://accounts.example.com, which belongs to no principal; needed: an identity in force that .writ/trust.yaml lists, of carol",
        },
        /// The signature was made for another purpose.
        W207 = "WrongNamespace" {
            meaning: "The signature is good but was made for another purpose (its namespace), or without what the trust file asks of a security key (a touch, the PIN or fingerprint of its user) or of a certificate (its principals, its options, for how long it is valid), so it cannot stand for this one.",
            action: "Touch the key when it blinks. Sign commits with `git commit --gpg-sign`, trust files with `ssh-keygen -Y sign -n writ-trust@1`.",
            example: "W207 WrongNamespace: commit 3f1c2a9d0b7e: namespace \"file\"; needed: \"git\"",
        },
        /// A signature format or key type that is not supported.
        W208 = "FormatNotSupported" {
            meaning: "The signature format or the key type is not supported yet (S/MIME, ML-DSA keys, OpenPGP keys on Brainpool curves), or it is OpenPGP or keyless where no principal has such a key.",
            action: "Sign with an SSH key of type Ed25519, ECDSA or RSA, in a file or in a security key.",
            example: "W208 FormatNotSupported: commit 3f1c2a9d0b7e: an OpenPGP signature, and no principal has an OpenPGP key; needed: an SSH signature",
        },
        /// Two signatures, where the trust file does not say that there may be two.
        W209 = "DualSigned" {
            meaning: "The commit is signed for both object formats, as Git does where it keeps ids of both kinds (`extensions.compatObjectFormat`), and the trust file does not allow that. Only the signature of the repository's own format is verified. Nothing covers the other one, so whoever may push can add one to a commit that somebody else signed, and it has another id.",
            action: "Sign again in a clone without `extensions.compatObjectFormat`. Where the repository is in transition between the formats, have root principals set `history: {dualSigned: true}` in `.writ/trust.yaml` by a commit of its own, signed once.",
            example: "W209 DualSigned: commit 3f1c2a9d0b7e: signed for both object formats, gpgsig and gpgsig-sha256, of which one is not verified; needed: one signature, or `history: {dualSigned: true}` in the trust file before it",
        },

        /// No signature at all.
        W301 = "Unsigned" {
            meaning: "The commit, or the tag that the TrustRoot tracks, carries no signature; or the tag is a mere name for a commit, which nobody signed.",
            action: "Sign it: `git commit --amend --no-edit --gpg-sign`, with `gpg.format` set to the format of your key in the trust file (`ssh`, `openpgp`, or `x509` with gitsign) and `user.signingkey` to the key; a tag by `git tag --sign --force`.",
            example: "W301 Unsigned: commit 3f1c2a9d0b7e: no signature; needed: a signature by a principal",
        },
        /// The signer may not change this path.
        W302 = "NotAuthorised" {
            meaning: "The signer is known but the rule for a changed path does not name a role of theirs, or no rule covers the path.",
            action: "Have the commit made by someone whom the rule names, or have the rule changed by a commit of its own.",
            example: "W302 NotAuthorised: commit 3f1c2a9d0b7e: bob changed policies/deny.yaml; needed: one of alice, frank (rule \"policies\")",
        },
        /// Fewer principals than the rule demands.
        W303 = "ThresholdNotMet" {
            meaning: "The rule for a changed path needs more principals than have given credit.",
            action: "Have the missing principals sign as well.",
            example: "W303 ThresholdNotMet: commit 3f1c2a9d0b7e: 1 of 2 for policies/deny.yaml; needed: one more of frank, grace (rule \"policies\")",
        },
        /// Key or payload was revoked.
        W304 = "Revoked" {
            meaning: "The key of the signature, its certificate or its authority, or the content of the commit, is revoked. Or what is accepted still holds what a revoked key brought, approved, or ordered by a BreakGlass or a RollbackRequest.",
            action: "Make the change again and sign it with a key that is not revoked; `writ trust add PRINCIPAL --key FILE` gives somebody a new one.",
            example: "W304 Revoked: commit 3f1c2a9d0b7e: signed with key SHA256:Zx…, which is revoked (compromised); needed: a key that is not revoked",
        },
        /// An object of a kind that the rule does not allow.
        W305 = "KindOutsideRule" {
            meaning: "A changed file declares an object whose kind the rule for its path does not allow, or whose scope is not known.",
            action: "Move the object to a path whose rule allows its kind, or have the rule changed by a commit of its own.",
            example: "W305 KindOutsideRule: commit 3f1c2a9d0b7e: apps/x.yaml declares rbac.authorization.k8s.io/ClusterRole; needed: a namespaced kind (rule \"apps\")",
        },
        /// A machine where only people count.
        W306 = "MachineNotAllowed" {
            meaning: "The signer is a robot. Robots never count for `.writ/`, `policies/` and `waivers/`, whatever role they hold.",
            action: "Have the commit made and signed by a person whom the rule names.",
            example: "W306 MachineNotAllowed: commit 3f1c2a9d0b7e: relbot changed policies/deny.yaml, for which machines do not count; needed: one of alice, frank (rule \"policies\")",
        },
        /// An approval is not about this step.
        W307 = "ApprovalInvalid" {
            meaning: "Not enough principals stand for the change, and approvals that would be enough do not count: they are for another predecessor, tree, ref, repository or trust file, or have expired.",
            action: "Approve the commit as it is now: whoever approves an earlier form of it approves that form alone.",
            example: "W307 ApprovalInvalid: commit 3f1c2a9d0b7e (rule policies): 1 of 2 for policies/limits.yaml (alice); approval of frank: to tree 77aa…, not 91bc…; needed: 1 more of frank. Fix: writ trust approve 3f1c2a9d0b7e --key KEY_FILE",
        },
        /// A step that changes policies or waivers together with something else.
        W308 = "MixedStep" {
            meaning: "One step changes policies or waivers together with other paths, so it could bring its own permission.",
            action: "Split it: first the commit for `policies/` or `waivers/`, then the other.",
            example: "W308 MixedStep: commit 3f1c2a9d0b7e: policies/deny.yaml and apps/web.yaml in one step; needed: two steps",
        },

        /// The candidate does not descend from the last verified commit.
        W401 = "NotDescendant" {
            meaning: "The head does not descend from the last verified commit: history was rewritten, an older head is replayed, or it is another repository. Verified is what signatures and authority allow and the log has recorded; a Sync may hold that commit all the same, for a policy for instance (W801), and run an older one.",
            action: "Push a commit on top of the last verified one, also if a Sync holds that one. To go back on purpose, revert by a new signed commit.",
            example: "W401 NotDescendant: commit 3f1c2a9d0b7e: does not descend from commit 77aa01b2c3d4, which was verified before; needed: a descendant of commit 77aa01b2c3d4",
        },
        /// The last accepted commit is reachable, but not along first parents.
        W402 = "NotFirstParent" {
            meaning: "The last accepted commit is in the history of the head but not on its first-parent chain: a merge put another branch in its place.",
            action: "Merge into the tracked branch, not the tracked branch into another, and push that.",
            example: "W402 NotFirstParent: commit 3f1c2a9d0b7e: commit 77aa01b2c3d4 is in its history, but not along first parents; needed: commit 77aa01b2c3d4 on the first-parent chain",
        },
        /// Too long a way, or an object missing on it.
        W403 = "BudgetExceeded" {
            meaning: "The way from the last accepted commit is longer than the limit, a step changes more paths than it may (20,000, or `limits.changedPaths` of the TrustRoot), or an object on it is missing or is another than it must be: a parent that is no commit.",
            action: "Advance in smaller portions, or restore the missing history on the server. What was accepted stays in force and is healed meanwhile, also when neither the server nor the mirror has it any more.",
            example: "W403 BudgetExceeded: commit 3f1c2a9d0b7e: more than 200000 steps from the introduction; needed: at most 200000. Fix: name a later introduction in the TrustRoot: writ trust root REV prints it",
        },
        /// The commit does not say which ref it is for.
        W404 = "RefBindingMissing" {
            meaning: "The trust file demands that each commit of the branch names the repository and the ref it is for, and this one does not: it may have been made for another branch or repository. Or the tag that the TrustRoot tracks is called otherwise than its ref.",
            action: "Add the trailer, and sign the commit again; or have a person approve it, where the trust file takes that.",
            example: "W404 RefBindingMissing: commit 3f1c2a9d0b7e: its message does not say that it is for refs/heads/main of urn:writ:shop; needed: the trailer `Writ-Ref: urn:writ:shop refs/heads/main`",
        },
        /// What the server shows may be old.
        W405 = "SourceStale" {
            meaning: "The server has not answered, shows a head that is older, or no signed heartbeat has come, for longer than `freshness` of the TrustRoot allows (`maxAnswerAge`, `maxHeadAge`, `maxHeartbeatAge`), or a heartbeat names a head that the server does not show. New commits, revocations among them, may be hidden. It is told and refuses nothing: what was accepted stays in force and is healed.",
            action: "Look at what stands between writ and the Git server, and compare its head with that of the server itself. If nothing was pushed for so long, `maxHeadAge` is too short for the branch. If nobody sends heartbeats any more, see to that: `writ trust heartbeat`.",
            example: "W405 SourceStale: GitSource shop/config: the newest heartbeat is of 2026-07-02T09:00:00Z, by clock; needed: a heartbeat within 15m, of a head that is shown",
        },
        /// Committer time goes back or lies in the future.
        W406 = "CommitterTime" {
            meaning: "The committer time is earlier than that of a commit before it, by more than five minutes, or lies as much in the future.",
            action: "Set the clock of the machine that commits, then commit again: `git commit --amend --no-edit --gpg-sign --date=now`.",
            example: "W406 CommitterTime: commit 3f1c2a9d0b7e: 2019-01-01T00:00:00Z, before what it follows; needed: not before 2026-07-02T09:00:00Z",
        },
        /// What was accepted before is lost.
        W407 = "AcceptedStateLost" {
            meaning: "The record of what was accepted is missing although there are traces of it, so the way forward cannot be judged.",
            action: "Restore the state volume, or have an admin set `resumeFrom` in the TrustRoot.",
            example: "W407 AcceptedStateLost: trust root prod: an empty log, but objects carry its label; needed: the log, or resumeFrom. Fix: kubectl patch trustroot prod --type=merge -p '{\"spec\":{\"resumeFrom\":\"OID\"}}'",
        },
        /// The same signed content as what was accepted, in another object.
        W408 = "SamePayload" {
            meaning: "The head is, or follows, an object with the same signed content as a commit that was accepted, under another id: what no signature covers is different, the form of the signature or a second one beside it. Whoever may push can make such an object without a key. Its content and its signer are those of the accepted one; history goes on from the one that was verified first.",
            action: "Take what follows it to the accepted commit, as the fix says, and push that; where nothing follows it, push the accepted commit. Find out who pushed the other object. Ed25519 and RSA keys of SSH make signatures of one form; a second one is accepted only with `history.dualSigned`.",
            example: "W408 SamePayload: commit 3f1c2a9d0b7e: it is the same signed content (sha256 91bc…) as commit 77aa01b2c3d4, which was verified before, under another id; needed: a descendant of commit 77aa01b2c3d4",
        },

        /// No trust file.
        W501 = "TrustFileMissing" {
            meaning: "There is no `.writ/trust.yaml` in the tree that decides.",
            action: "Make one with `writ trust init`, sign it by the root principals and commit it.",
            example: "W501 TrustFileMissing: commit 3f1c2a9d0b7e: no .writ/trust.yaml; needed: a trust file",
        },
        /// The trust file does not parse, or uses what is not supported.
        W502 = "TrustFileInvalid" {
            meaning: "The trust file does not parse strictly, uses a field that is unknown or not supported yet, or pins a certificate that is not there as it is pinned.",
            action: "Correct the line or the file that is named; `writ trust lint` reads them as the cluster does.",
            example: "W502 TrustFileInvalid: .writ/trust.yaml:12:5: field override is not supported yet; needed: a file without it",
        },
        /// The version does not follow the predecessor's.
        W503 = "TrustVersionJump" {
            meaning: "The version of the trust file is not the predecessor's plus one, or is below the minimum of the TrustRoot.",
            action: "Set `version` to the predecessor's plus one and have the file signed again. The commands that edit the file (`writ trust add` and the like) set it.",
            example: "W503 TrustVersionJump: commit 3f1c2a9d0b7e: version 44 after 42; needed: 43",
        },
        /// Too few good signatures of root principals.
        W504 = "TrustSignaturesMissing" {
            meaning: "The trust file does not carry enough good signatures of root principals: of people, each counted once whatever keys they have. The one of the introduction needs the root keys of the TrustRoot, and what its own rules ask for.",
            action: "Have root principals sign the exact bytes: `writ trust sign --key KEY_FILE`, or whose key there is an OpenPGP one, `writ trust sign --openpgp FINGERPRINT`; it says how many are missing. Without writ: `ssh-keygen -Y sign -n writ-trust@1 -f KEY .writ/trust.yaml`, or `gpg --armor --detach-sign -o .writ/trust.yaml.sigs/PRINCIPAL.asc .writ/trust.yaml`.",
            example: "W504 TrustSignaturesMissing: commit 3f1c2a9d0b7e: 1 of 2 (alice); needed: one more of dave, erin",
        },
        /// A revocation disappeared.
        W505 = "RevocationRemoved" {
            meaning: "The trust file lacks a revocation that its predecessor holds. Revocations are never taken back.",
            action: "Put the revocation back; give the principal a new key instead (`writ trust add`).",
            example: "W505 RevocationRemoved: commit 3f1c2a9d0b7e: key SHA256:Zx… is no longer revoked; needed: all revocations of the predecessor",
        },
        /// Nobody could change the file any more.
        W506 = "SelfLocking" {
            meaning: "The trust file could never be changed again: nothing lets enough principals change `.writ/trust.yaml`, or a threshold is out of reach of those with a key that is not revoked and has not ended, or of a tag, which has one signature.",
            action: "Name enough principals in the role, or lower the threshold.",
            example: "W506 SelfLocking: .writ/trust.yaml: rule \"trust\" needs 3 of root, which has 2; needed: a threshold within reach",
        },
        /// Repository or ref differ from the TrustRoot.
        W507 = "TrustFileMismatch" {
            meaning: "The trust file names another repository or ref than the TrustRoot.",
            action: "Correct `repoId` or `ref` in the file or in the TrustRoot.",
            example: "W507 TrustFileMismatch: commit 3f1c2a9d0b7e: repoId urn:writ:dev; needed: urn:writ:prod-config",
        },
        /// The trust file has expired.
        W508 = "TrustFileExpired" {
            meaning: "The trust file expired more than a week before this commit, so nobody stands by it any more. Only `.writ/` may change until it is renewed; what runs is healed as before. In that week a GitSource says so and refuses nothing for it.",
            action: "Set a later `expires`, raise `version`, have the file signed again, and commit that alone.",
            example: "W508 TrustFileExpired: commit 3f1c2a9d0b7e: apps/web.yaml changed 2027-07-02T09:00:00Z, the trust file expired 2027-06-01T00:00:00Z; needed: a trust file that has not expired",
        },

        /// A commit is in force that those who made it may not make.
        W701 = "BreakGlassActive" {
            meaning: "A commit was let through by a BreakGlass although those who made it may not make it, and something of it is still as it brought it. Who signed the order and why is in the audit log for ever.",
            action: "Have everything that the commit changed made anew by those who may, or approved: `writ trust approve`.",
            example: "W701 BreakGlassActive: commit 3f1c2a9d0b7e: let through by alice, dave (the shop is down) although W302: bob changed infra/web.yaml; needed: a commit that changes infra/web.yaml by those who may. Fix: writ trust approve 3f1c2a9d0b7e --key KEY_FILE",
        },
        /// An order to break the glass that is not obeyed.
        W702 = "BreakGlassInvalid" {
            meaning: "A BreakGlass is not obeyed: it is for another repository, GitSource or content, its time is over or lies too far ahead, its commit is not the head, or those who signed it may not change the trust file.",
            action: "Sign a new order, by as many people as a change of `.writ/trust.yaml` takes: `writ break-glass`.",
            example: "W702 BreakGlassInvalid: commit 3f1c2a9d0b7e: 1 of 2 for .writ/trust.yaml (alice); needed: 1 more of dave. Fix: writ break-glass --add FILE --key KEY_FILE # by 1 more of dave",
        },
        /// An order to go back that is not obeyed, whoever signed it.
        W703 = "RollbackInvalid" {
            meaning: "A RollbackRequest cannot be obeyed, whoever signed it: it is for another repository, Sync or content, its time is over or lies too far ahead, it was used before, or its commit is not one that the Sync accepted earlier.",
            action: "Sign a new order: `writ rollback`.",
            example: "W703 RollbackInvalid: commit 3f1c2a9d0b7e: it expired 2026-07-02T09:00:00Z, and it is 2026-07-02T10:00:00Z; needed: one whose time is not over. Fix: writ rollback --help # then sign a new order",
        },
    }
}
