//! Codes of the controller itself.

manifest::codes! {
    /// Codes that concern the running of a roll-out rather than its content.
    pub enum ControllerCode {
        /// The state volume takes no more entries.
        A140 = "StateVolume" {
            meaning: "The audit log cannot be written: the state volume is full, read-only or broken. Since nothing is done that is not logged first, roll-outs stop; reverts go on as long as the reserve lasts.",
            action: "Make room on the state volume, or mount it writable. Roll-outs go on by themselves.",
            example: "A140 StateVolume: Sync shop/web: the log cannot be written: no space left on device; needed: a writable state volume. Fix: kubectl -n writ-system exec writ-0 -- df -h /var/lib/writ",
        },
        /// The Sync or GitSource names something that is not there.
        A141 = "MissingReference" {
            meaning: "A Sync names a GitSource, or a GitSource a TrustRoot or Secret, that is not there, may not be used from its namespace, or holds what is not known.",
            action: "Create what is named, or mend the reference.",
            example: "A141 MissingReference: Sync shop/web: GitSource shop/config is not there; needed: an existing GitSource. Fix: kubectl -n shop get gitsources",
        },
        /// A custom resource uses something that is not supported yet.
        A142 = "UnsupportedField" {
            meaning: "A custom resource sets a field that writ does not support yet. It is refused rather than ignored.",
            action: "Remove the field.",
            example: "A142 UnsupportedField: Sync shop/web: spec.wait is not supported yet; needed: a spec without it. Fix: remove spec.wait",
        },
        /// A task of the controller ended without an answer.
        A143 = "NoVerdict" {
            meaning: "A step on the way to a verdict ended without an answer: a defect of writ. It counts as a refusal; what was accepted before stays in force.",
            action: "Report the message; the step is tried again.",
            example: "A143 NoVerdict: GitSource shop/config: the judgement ended unexpectedly: panic; needed: a verdict. Fix: report this message",
        },
        /// The trust root of keyless signatures could not be fetched anew.
        A144 = "KeylessNotRefreshed" {
            meaning: "The trust root of keyless signatures that `spec.keyless.refresh` of the TrustRoot has fetched could not be: its server does not answer, or what it shows is expired, older than what was seen, too large, or not signed by those who must. What was in force stays in force, so nothing is let through by it; keys that were taken away meanwhile go on being trusted. It is tried again, after a minute, then less often, at least each hour.",
            action: "Look at what the message says of the server. A file that was kept and cannot be used is never passed over for an older trust root: until it is removed and a fetch goes through, keyless signatures are refused (W206) after a restart.",
            example: "A144 KeylessNotRefreshed: TrustRoot prod: https://tuf.example.com: timestamp metadata expired at 2026-11-20T00:00:00Z; what was fetched 2026-11-19T03:12:45Z stays in force; needed: a trust root that is known to be the newest. Fix: ask who runs https://tuf.example.com: it shows nothing that follows on what is trusted",
        },
        /// The TrustRoot is in mode Audit.
        A145 = "AuditMode" {
            meaning: "`spec.mode` of the TrustRoot is `Audit`: heads are fetched, verified, judged and told as otherwise, and nothing is written to the cluster for the Syncs of its sources: no roll-out, no revert, no deletion, no label. What a good candidate would do is counted in the message; drift is told and stays. Only who may write TrustRoots can set it.",
            action: "Read what would be done and what is refused. When all is as it should be, set `mode: Enforce`: what is verified by then is rolled out, and drift is reverted.",
            example: "A145 AuditMode: Sync shop/web: TrustRoot prod is in mode Audit, nothing is written: commit 8f3c would apply 12 for the first time, change 0, delete 0 and leave 0 of the objects as they are; needed: mode Enforce, for what is judged to be done. Fix: kubectl patch trustroot prod --type=merge -p '{\"spec\":{\"mode\":\"Enforce\"}}' # by a platform admin, once all that is told is as it should be",
        },
        /// A Sync has windows that cannot be read.
        A146 = "InvalidWindow" {
            meaning: "`spec.advance.windows` of a Sync cannot be read: the schedule is no cron expression of five fields or never comes, the duration is shorter than a minute or longer than 31 days, or the time zone is not known. The spec is obeyed otherwise; since nobody can tell what the windows were to hold, no revision advances. Drift is mended all the same.",
            action: "Mend the field that the message names. What waits is rolled out as soon as the windows allow it.",
            example: "A146 InvalidWindow: Sync shop/web: spec.advance.windows[0].schedule: schedule \"0 0 30 2 *\": it never comes: no day of any year has this day of month, month and day of week; needed: windows that can be read; until then no revision advances, and drift is mended all the same. Fix: mend spec.advance.windows[0].schedule",
        },
        /// The windows of a Sync hold a good revision.
        A149 = "OutsideWindow" {
            meaning: "A revision is good and not rolled out, because `spec.advance.windows` of the Sync does not let revisions advance now: it is within a window that denies it, or within none of those that allow it. What was accepted before stays in force and is healed; a roll-out that had begun goes on.",
            action: "None: it is rolled out by itself within a minute of the time that the message names. To have it earlier, change the windows by a signed commit. A signed RollbackRequest is not held.",
            example: "A149 OutsideWindow: Sync shop/web: window 1 denies it (0 18 * * fri for 62h, Europe/Berlin); held until 2026-11-30T07:00:00Z; needed: a time at which spec.advance.windows lets revisions advance. Fix: none is needed, it is rolled out then; earlier, change spec.advance.windows by a signed commit",
        },
    }
}
