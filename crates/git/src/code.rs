//! The codes of this crate: everything that keeps a remote's head from arriving.

manifest::codes! {
    /// W6xx: transport.
    pub enum GitCode {
        /// The exchange with the server failed.
        W601 = "TransportFailed" {
            meaning: "The Git server could not be reached, or what it sent is not the answer of a Git server.",
            action: "Check the address, the network path and the server; the next poll tries again by itself.",
            example: "W601 TransportFailed: https://git.example.com/shop: the connection failed (Connection refused (os error 111)); needed: a Git server that can be reached. Fix: curl -I 'https://git.example.com/shop/info/refs?service=git-upload-pack'",
        },
        /// The server is not the one it should be.
        W602 = "ServerUnverified" {
            meaning: "The server's certificate is not issued by the expected authority, not valid now, or made for another name; or an ssh server shows a host key that known_hosts does not name for it.",
            action: "Put the authority's certificate into the source's secret as ca.crt, or the host key into known_hosts once you know that it is the server's; or correct the host name. Never switch verification off: there is no such switch.",
            example: "W602 ServerUnverified: https://git.example.com/shop: the certificate's issuer is not known; needed: a certificate issued by the authority in the source's secret. Fix: put the authority's certificate into the secret as ca.crt",
        },
        /// A limit was reached.
        W603 = "FetchLimit" {
            meaning: "The repository, or one object of it, is larger than a fetch may be; the mirror would be larger than it may be; or the fetch reached its limit of memory or processor time.",
            action: "Keep large files out of the repository and out of its history: what a later commit removes is fetched all the same, and so is all that lies below the introduction of the TrustRoot. What is accepted already, or not above the introduction, cannot be dropped: begin a repository with less history, and name it in a new TrustRoot. A mirror that is too large may be deleted: it is fetched anew, as one pack. The limits are fixed, but for that of the mirror: `limits.repositoryBytes` of the TrustRoot may be lower, and can be raised again.",
            example: "W603 FetchLimit: https://git.example.com/shop: more than 268435456 bytes were sent; needed: at most 268435456 bytes. Fix: keep large files elsewhere: drop or amend the commits that bring them, a later removal is not enough; if they are accepted already or not above the introduction, begin a repository with less history, and name it in a new TrustRoot: writ trust root REV prints it",
        },
        /// The mirror holds what can change the meaning of history.
        W604 = "RefusedRefs" {
            meaning: "The mirror holds replace refs, grafts, alternates, a shallow boundary or foreign refs or settings: each can make one commit look like another.",
            action: "Delete the mirror's directory; it is fetched anew. Find out who wrote there.",
            example: "W604 RefusedRefs: /var/lib/writ/mirror/shop: refs/replace is present; needed: a mirror that only writ wrote. Fix: rm -r /var/lib/writ/mirror/shop",
        },
        /// The server answered with a redirect.
        W605 = "RedirectRefused" {
            meaning: "The server redirects elsewhere. Redirects are not followed: they would send credentials to a place nobody named.",
            action: "Set the source's url to the place the redirect names, if that is where the repository now lives.",
            example: "W605 RedirectRefused: https://git.example.com/shop: redirected (301) to \"https://new.example.com/shop\"; needed: an answer from the address itself. Fix: set spec.url to the new address, if it is the right one",
        },
        /// The server refused the credentials, or wanted some.
        W606 = "CredentialsRefused" {
            meaning: "The server refused the credentials, or there are none and it wants some.",
            action: "Renew the user name and password, the token, or the private key, in the source's secret.",
            example: "W606 CredentialsRefused: https://git.example.com/shop: the server refused the credentials (401); needed: credentials that may read the repository. Fix: renew the secret named by spec.secretRef",
        },
        /// The server stalled or took too long.
        W607 = "RemoteTimeout" {
            meaning: "The server stalled, or the exchange took longer than its limit.",
            action: "Look at the server's load and the network; the source is asked again by itself. The limits are fixed.",
            example: "W607 RemoteTimeout: https://git.example.com/shop: the server fell silent (limit 20 s); needed: an answer within 20 s. Fix: curl -I 'https://git.example.com/shop/info/refs?service=git-upload-pack'",
        },
        /// The ref does not exist on the remote.
        W608 = "RefMissing" {
            meaning: "The server has no such branch. What was accepted stays in force.",
            action: "Push the branch, or correct the ref of the source.",
            example: "W608 RefMissing: https://git.example.com/shop: the server has no refs/heads/main; needed: the tracked branch. Fix: git push origin HEAD:refs/heads/main",
        },
        /// The source names something that is not supported.
        W609 = "RemoteUnsupported" {
            meaning: "The url, ref, certificate, host keys, credentials or limits of a source are malformed or of a kind that is not supported.",
            action: "Write what the message names: https without user info or ssh with a user, a branch by its full name, PEM certificates.",
            example: "W609 RemoteUnsupported: the source's remote: the url is not supported: user@host:path is short for ssh://user@host/path: write that; needed: https://host/path or ssh://user@host/path, without a password. Fix: correct spec.url",
        },
        /// The mirror cannot be used.
        W610 = "MirrorUnusable" {
            meaning: "The mirror's directory cannot be read or written, or is damaged.",
            action: "Check space and permissions of the state volume. A damaged mirror may be deleted: it is fetched anew.",
            example: "W610 MirrorUnusable: /var/lib/writ/mirror/shop: could not create the mirror (No space left on device (os error 28)); needed: a directory that can be read and written. Fix: check space and permissions of the state volume",
        },
    }
}
