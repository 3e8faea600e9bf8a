//! Fault points: named places of a roll-out where tests end the process as a crash would.

/// Names the fault point at which the process ends itself.
pub const FAULT_POINT_VARIABLE: &str = "WRIT_FAULT_POINT";

/// The named steps of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint {
    /// The head was fetched; nothing is judged yet.
    Fetched,
    /// The head was judged; nothing is recorded yet.
    Judged,
    /// The verified revision is in the log.
    VerifiedRecorded,
    /// The Sync's set was rendered and judged.
    Prepared,
    /// The plan is in the log; nothing is applied yet.
    AdvanceRecorded,
    /// Everything was applied; nothing is remembered yet.
    Applied,
    /// `expected/` was written; the outcome is not in the log yet.
    Remembered,
    /// The outcome is in the log; status is not written yet.
    OutcomeRecorded,
    /// A revert is in the log; its request is not sent yet.
    RevertRecorded,
    /// A revert was answered.
    Reverted,
}

impl FaultPoint {
    /// Every fault point, in the order of a roll-out.
    pub const ALL: [Self; 10] = [
        Self::Fetched,
        Self::Judged,
        Self::VerifiedRecorded,
        Self::Prepared,
        Self::AdvanceRecorded,
        Self::Applied,
        Self::Remembered,
        Self::OutcomeRecorded,
        Self::RevertRecorded,
        Self::Reverted,
    ];

    /// Its name, as in [`FAULT_POINT_VARIABLE`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Judged => "judged",
            Self::VerifiedRecorded => "verified-recorded",
            Self::Prepared => "prepared",
            Self::AdvanceRecorded => "advance-recorded",
            Self::Applied => "applied",
            Self::Remembered => "remembered",
            Self::OutcomeRecorded => "outcome-recorded",
            Self::RevertRecorded => "revert-recorded",
            Self::Reverted => "reverted",
        }
    }

    /// Ends the process without any clean-up if this point is the one asked for.
    pub fn pass(self) {
        static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var(FAULT_POINT_VARIABLE).ok());
        if wanted.as_deref() == Some(self.name()) {
            // No destructor, no flush, no exit handler. If the signal could not be sent, nothing goes on.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
            std::process::abort();
        }
    }
}
