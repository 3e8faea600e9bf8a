//! Documents that are generated from the code: CRDs, the register of codes, the command reference.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::{CommandFactory as _, ValueEnum};
use manifest::CodeEntry;

use crate::{cli::Cli, exit::Outcome, output};

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// The CustomResourceDefinitions.
    Crds,
    /// The register of codes.
    Codes,
    /// The command reference.
    Cli,
    /// The metrics.
    Metrics,
    /// How differences are weighed: field classes and known mutators.
    Differences,
}

/// Prints a document.
pub(crate) fn run(document: Document) -> anyhow::Result<Outcome> {
    match document {
        Document::Crds => output::text(&cluster::crd::crds_yaml()?)?,
        Document::Codes => output::text(&codes()?)?,
        Document::Cli => output::text(&reference()?)?,
        Document::Metrics => output::text(&metrics()?)?,
        Document::Differences => output::text(&differences()?)?,
    }
    Ok(Outcome::Fine)
}

/// Prints a completion script.
pub(crate) fn completion(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "writ", &mut script);
    output::text(&String::from_utf8(script)?)?;
    Ok(Outcome::Fine)
}

/// Every code of every crate, by number. A number that two crates use is an error.
pub(crate) fn register() -> anyhow::Result<BTreeMap<&'static str, &'static CodeEntry>> {
    let all = manifest::ManifestCode::ALL
        .iter()
        .map(|code| code.entry())
        .chain(trust::TrustCode::ALL.iter().map(|code| code.entry()))
        .chain(git::GitCode::ALL.iter().map(|code| code.entry()))
        .chain(policy::PolicyCode::ALL.iter().map(|code| code.entry()))
        .chain(plan::PlanCode::ALL.iter().map(|code| code.entry()))
        .chain(cluster::ClusterCode::ALL.iter().map(|code| code.entry()))
        .chain(::controller::ControllerCode::ALL.iter().map(|code| code.entry()));
    let mut register = BTreeMap::new();
    for entry in all {
        if register.insert(entry.code, entry).is_some() {
            anyhow::bail!("the code {} is used twice", entry.code);
        }
    }
    Ok(register)
}

fn metrics() -> anyhow::Result<String> {
    let mut text = String::from(
        "# Metrics\n\nWhat `/metrics` of the controller shows. Labels are codes, fixed words, and names of Syncs and GitSources; never \
         names of other\nobjects. This page is generated: `cargo xtask generate`.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for (name, entry) in ::controller::metrics_reference()? {
        let labels = if entry.labels.is_empty() { "–".to_owned() } else { entry.labels.join(", ") };
        writeln!(text, "| `{name}` | {} | {labels} | {} |", entry.kind, entry.help)?;
    }
    Ok(text)
}

fn differences() -> anyhow::Result<String> {
    let mut text = String::from(
        "# How differences are weighed\n\nWhat `writ diff` and every drift verdict go by. This page is generated: `cargo xtask \
         generate`.\n\n## Field classes\n\nEach field that differs has a class, and each class a severity. Of several fields the \
         gravest is named.\n\n| class | severity | why |\n|---|---|---|\n",
    );
    let mut classes = plan::FieldClass::ALL;
    // The sort is stable: classes of one severity stay in the order of the table.
    classes.sort_by_key(|class| std::cmp::Reverse(class.severity()));
    for class in classes {
        writeln!(text, "| `{class}` | {} | {} |", class.severity(), class.reason())?;
    }
    write!(
        text,
        "\n## Known mutators\n\nWhat changes objects in the course of ordinary operation, and is no drift (catalogue version {}). A \
         line goes by the kind,\nthe path, the values and what the same commit declares, never by the name of a field manager: whoever \
         edits an object chooses\nthat.\n\n| mutator | since version | what it does |\n|---|---|---|\n",
        plan::CATALOGUE_VERSION,
    )?;
    for mutator in plan::catalogue() {
        writeln!(text, "| `{}` | {} | {} |", mutator.name, mutator.since, mutator.reason)?;
    }
    Ok(text)
}

fn codes() -> anyhow::Result<String> {
    let mut text = String::from(
        "# Codes\n\nEvery refusal and every drift verdict carries one of these codes. A number is taken once and never used \
         again.\nThis page is generated: `cargo xtask generate`.\n",
    );
    let groups = [
        ("A1", "Apply"),
        ("D1", "Drift"),
        ("M1", "Manifest and rendering"),
        ("W1", "Object"),
        ("W2", "Signature"),
        ("W3", "Authority"),
        ("W4", "History"),
        ("W5", "Trust file"),
        ("W6", "Transport"),
        ("W7", "Override"),
        ("W8", "Policy"),
        ("W9", "Artifact"),
    ];
    let register = register()?;
    for (prefix, title) in groups {
        let entries: Vec<_> = register.values().filter(|entry| entry.code.starts_with(prefix)).collect();
        if entries.is_empty() {
            continue;
        }
        writeln!(text, "\n## {title} ({prefix}xx)")?;
        for entry in entries {
            writeln!(
                text,
                "\n### {} {}\n\n{}\n\n**What to do.** {}\n",
                entry.code, entry.reason, entry.meaning, entry.action
            )?;
            writeln!(text, "```text\n{}\n```", entry.example)?;
        }
    }
    Ok(text)
}

fn reference() -> anyhow::Result<String> {
    let mut text = String::from("# Command reference\n\nThis page is generated: `cargo xtask generate`.\n");
    let mut command = Cli::command().term_width(100);
    command.build();
    section(&mut text, &mut command, "writ")?;
    Ok(text)
}

fn section(text: &mut String, command: &mut clap::Command, name: &str) -> anyhow::Result<()> {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    writeln!(text, "\n## {name}\n\n```text\n{}\n```", lines.join("\n"))?;
    let shown = |child: &&clap::Command| !child.is_hide_set() && child.get_name() != "help";
    let children: Vec<String> =
        command.get_subcommands().filter(shown).map(|child| child.get_name().to_owned()).collect();
    for child in children {
        if let Some(found) = command.find_subcommand_mut(&child) {
            section(text, found, &format!("{name} {child}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_used_once_and_explained() {
        for (code, entry) in register().unwrap() {
            assert_eq!(code.len(), 4, "{code}");
            for part in [entry.reason, entry.meaning, entry.action, entry.example] {
                assert!(!part.is_empty(), "{code} has an empty part");
            }
            assert!(entry.example.starts_with(code), "{code}: the example starts with something else");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
