//! Why a commit passes or not: the rules that its changes meet, and for one path who stands for it by which.

use std::fmt::{Error, Write as _};

use manifest::{Finding, counted};
use serde::Serialize;
use trust::{PathReasons, RuleReasons, RuleUse, Standing, StepReasons};

use crate::output::printable;

/// A rule that covers something that a commit changes.
#[derive(Debug, Serialize)]
pub(super) struct MetRule {
    rule: String,
    paths: usize,
    holds: bool,
    /// The principals who count by it.
    by: Vec<String>,
}

/// Why a path may be changed as it was, or may not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedPath {
    path: String,
    change: &'static str,
    passes: bool,
    credit: Vec<Credited>,
    rules: Vec<ExplainedRule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_counted: Vec<String>,
    /// What is wrong, if it does not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Credited {
    principal: String,
    by: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedRule {
    rule: String,
    holds: bool,
    any_of: Vec<Alternative>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alternative {
    role: String,
    threshold: u32,
    distinct_from_author: bool,
    counted: Vec<String>,
    excluded: Vec<String>,
}

impl MetRule {
    pub(super) fn all(reasons: &StepReasons) -> Vec<Self> {
        let met = |rule: &RuleUse| Self {
            rule: rule.rule.clone(),
            paths: rule.paths,
            holds: rule.holds,
            by: rule.by.iter().cloned().collect(),
        };
        reasons.rules.iter().map(met).collect()
    }

    /// For a commit that passed.
    pub(super) fn human(&self, text: &mut String) -> Result<(), Error> {
        let paths = counted(self.paths as u64, "path");
        writeln!(text, "  {paths} by rule {} ({})", printable(&self.rule), printable(&self.by.join(", ")))
    }
}

impl ExplainedPath {
    pub(super) fn of(reasons: &PathReasons) -> Self {
        let change = &reasons.change;
        Self {
            path: change.path.to_string(),
            change: match (&change.before, &change.after) {
                (None, _) => "made",
                (_, None) => "removed",
                (Some(_), Some(_)) => "changed",
            },
            passes: reasons.verdict.is_ok(),
            credit: reasons.credit.iter().map(credited).collect(),
            rules: reasons.rules.iter().map(explained).collect(),
            not_counted: reasons.not_counted.clone(),
            message: reasons.verdict.as_ref().err().map(Finding::message),
        }
    }

    pub(super) fn human(&self, text: &mut String) -> Result<(), Error> {
        let passes = if self.passes { "may be" } else { "may not be" };
        writeln!(text, "  {} {passes} {}:", printable(&self.path), self.change)?;
        for one in &self.credit {
            writeln!(text, "    {} {}", printable(&one.principal), one.by.join(" and "))?;
        }
        if self.rules.is_empty() {
            writeln!(text, "    no rule covers it, so nobody may change it")?;
        }
        for rule in &self.rules {
            rule.human(text)?;
        }
        for reason in &self.not_counted {
            writeln!(text, "    does not count: {}", printable(reason))?;
        }
        Ok(())
    }
}

impl ExplainedRule {
    fn human(&self, text: &mut String) -> Result<(), Error> {
        let holds = if self.holds { "holds" } else { "does not hold" };
        writeln!(text, "    rule {} {holds}:", printable(&self.rule))?;
        for (index, item) in self.any_of.iter().enumerate() {
            let or = if index == 0 { "" } else { "or " };
            let author = if item.distinct_from_author { ", besides who made the change" } else { "" };
            let counted = if item.counted.is_empty() { "nobody".to_owned() } else { item.counted.join(", ") };
            let role = printable(&item.role);
            write!(text, "      {or}{} of {role}{author}: {}", item.threshold, printable(&counted))?;
            if !item.excluded.is_empty() {
                write!(text, "; machines do not count here: {}", printable(&item.excluded.join(", ")))?;
            }
            text.push('\n');
        }
        Ok(())
    }
}

fn credited((principal, standing): (&String, &std::collections::BTreeSet<Standing>)) -> Credited {
    let word = |how: &Standing| match how {
        Standing::Signed => "signed the commit",
        Standing::Approved => "approved it",
        Standing::MergedFrom => "made it on the branch that is merged",
        Standing::SignedTrustFile => "signed the trust file",
    };
    Credited { principal: principal.clone(), by: standing.iter().map(word).collect() }
}

fn explained(rule: &RuleReasons) -> ExplainedRule {
    let any_of = rule.any_of.iter().map(|item| Alternative {
        role: item.role.clone(),
        threshold: item.threshold,
        distinct_from_author: item.distinct_from_author,
        counted: item.counted.clone(),
        excluded: item.excluded.clone(),
    });
    ExplainedRule { rule: rule.rule.clone(), holds: rule.holds(), any_of: any_of.collect() }
}
