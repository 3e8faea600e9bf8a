//! Judgements that people ask for by annotation: which of them is under way, and which is over.

/// Values of `reconcile.fluxcd.io/requestedAt` of one custom resource.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// The newest that was seen.
    newest: Option<String>,
    /// The newest that was seen when the judgement under way began.
    underway: Option<String>,
    /// The newest whose judgement is over.
    answered: Option<String>,
}

/// Whether somebody asks for a judgement that has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Somebody does.
    Yes,
    /// Nobody does.
    No,
}

impl Requests {
    /// Those of a resource that is seen for the first time: what was answered before a restart is in its status.
    pub(crate) fn new(annotation: Option<&str>, answered: Option<String>) -> Self {
        Self { newest: annotation.map(str::to_owned), underway: answered.clone(), answered }
    }

    /// The annotation is seen with this value.
    pub(crate) fn see(&mut self, annotation: Option<&str>) -> Asked {
        if annotation.is_none() || annotation == self.newest.as_deref() {
            return Asked::No;
        }
        self.newest = annotation.map(str::to_owned);
        self.open()
    }

    /// A judgement begins; whether it is one that somebody asked for.
    pub(crate) fn begin(&mut self) -> Asked {
        let asked = if self.newest.is_some() && self.newest != self.answered { Asked::Yes } else { Asked::No };
        self.underway.clone_from(&self.newest);
        asked
    }

    /// The judgement is over; whether somebody asked for another one meanwhile.
    pub(crate) fn end(&mut self) -> Asked {
        if self.underway.is_some() {
            self.answered.clone_from(&self.underway);
        }
        self.open()
    }

    /// Whether somebody asked since the last judgement began.
    pub(crate) fn open(&self) -> Asked {
        if self.newest.is_some() && self.newest != self.underway { Asked::Yes } else { Asked::No }
    }

    /// The newest whose judgement is over.
    pub(crate) fn answered(&self) -> Option<&String> {
        self.answered.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(requests: &Requests) -> Option<&str> {
        requests.answered().map(String::as_str)
    }

    #[test]
    fn a_request_is_answered_when_its_judgement_is_over() {
        let mut requests = Requests::default();
        assert_eq!(requests.begin(), Asked::No);
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, None));
        assert_eq!(requests.see(Some("one")), Asked::Yes);
        assert_eq!(requests.see(Some("one")), Asked::No);
        assert_eq!(answered(&requests), None);
        assert_eq!((requests.begin(), answered(&requests)), (Asked::Yes, None));
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, Some("one")));
        assert_eq!(requests.begin(), Asked::No);
    }

    #[test]
    fn what_comes_while_a_judgement_is_under_way_needs_another() {
        let mut requests = Requests::default();
        requests.see(Some("one"));
        requests.begin();
        assert_eq!(requests.see(Some("two")), Asked::Yes);
        assert_eq!((requests.end(), answered(&requests)), (Asked::Yes, Some("one")));
        assert_eq!(requests.begin(), Asked::Yes);
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, Some("two")));
    }

    #[test]
    fn a_judgement_that_came_to_nothing_answers_nothing() {
        let mut requests = Requests::default();
        requests.see(Some("one"));
        requests.begin();
        // It is begun anew without an end.
        assert_eq!(requests.begin(), Asked::Yes);
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, Some("one")));
    }

    #[test]
    fn a_restart_answers_what_was_asked_before_it() {
        let mut requests = Requests::new(Some("two"), Some("one".to_owned()));
        assert_eq!((requests.open(), answered(&requests)), (Asked::Yes, Some("one")));
        requests.begin();
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, Some("two")));
        // An annotation that was removed asks for nothing, and takes nothing back.
        let mut requests = Requests::new(None, Some("one".to_owned()));
        assert_eq!((requests.see(None), requests.begin()), (Asked::No, Asked::No));
        assert_eq!((requests.end(), answered(&requests)), (Asked::No, Some("one")));
    }
}
