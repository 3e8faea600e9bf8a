//! Edits of a YAML file that leave every other byte as it is: comments, order, quotation marks, indentation.
//!
//! An edit is planned on the layout of the text, and believed only when the new text parses to exactly what the edit
//! means: a style that is not understood is refused, never broken.

use std::ops::Range;

use serde_json::Value;

use crate::{
    FieldPath, Finding, NewValue, RepoPath, Segment, canonical_json,
    layout::{Form, Layout, Name, Quotes, Style},
    new_value::{Indents, pad, quoted},
    parse_yaml,
};

/// One edit of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YamlEdit {
    /// Replaces a scalar.
    Set {
        /// Where it stands.
        at: FieldPath,
        /// By this scalar.
        value: NewValue,
    },
    /// Adds fields at the end of a mapping.
    Insert {
        /// The mapping.
        into: FieldPath,
        /// The fields; none of them is there.
        entries: Vec<(String, NewValue)>,
    },
    /// Adds items at the end of a list.
    Append {
        /// The list.
        to: FieldPath,
        /// The items.
        items: Vec<NewValue>,
    },
    /// Takes a field out of its mapping, or an item out of its list.
    Remove {
        /// Which.
        at: FieldPath,
    },
}

/// Why a file is not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlEditError {
    /// It is refused as it is.
    #[error("{0}")]
    Refused(Box<Finding>),
    /// It is not one document that is a mapping or list.
    #[error("the file is not one document")]
    NotOneDocument,
    /// What is to be edited is not there, or not of that kind.
    #[error("{0} is not there to be edited, or is there already")]
    NoSuchPlace(FieldPath),
    /// The place is written in a way that no edit keeps.
    #[error("{0} is written in a way that is not edited; edit it by hand")]
    Unsupported(FieldPath),
}

/// Makes edits in a file, one after another.
///
/// # Errors
/// When the file is refused, a place is not there, or its text is written in a way that cannot be edited.
pub fn edit_yaml(file: &RepoPath, text: &str, edits: &[YamlEdit]) -> Result<String, YamlEditError> {
    let mut meant = only_document(file, text)?;
    let mut edited = text.to_owned();
    for edit in edits {
        let place = edit.place();
        edit.mean(&mut meant).ok_or_else(|| YamlEditError::NoSuchPlace(place.clone()))?;
        let unsupported = || YamlEditError::Unsupported(place.clone());
        let layout = Layout::of(&edited).ok_or_else(unsupported)?;
        let splices = Plan::new(&edited, &layout).splices(edit).ok_or_else(unsupported)?;
        edited = spliced(&edited, splices).ok_or_else(unsupported)?;
        // Any of the edits may have been in a style that is not understood, and hide behind a later one.
        if only_document(file, &edited).map(|found| canonical_json(&found)) != Ok(canonical_json(&meant)) {
            return Err(unsupported());
        }
    }
    Ok(edited)
}

fn only_document(file: &RepoPath, text: &str) -> Result<Value, YamlEditError> {
    let documents = parse_yaml(file, text.as_bytes()).map_err(|finding| YamlEditError::Refused(Box::new(finding)))?;
    match documents.as_slice() {
        [document] => Ok(document.root.to_json()),
        _ => Err(YamlEditError::NotOneDocument),
    }
}

/// A part of the text and what takes its place.
type Splice = (Range<usize>, String);

fn spliced(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|(range, _)| range.start);
    let (mut new, mut at) = (String::with_capacity(text.len()), 0);
    for (range, replacement) in splices {
        new.push_str(text.get(at..range.start)?);
        new.push_str(&replacement);
        at = range.end;
    }
    new.push_str(text.get(at..)?);
    Some(new)
}

impl YamlEdit {
    fn place(&self) -> &FieldPath {
        match self {
            Self::Set { at, .. } | Self::Remove { at } => at,
            Self::Insert { into, .. } => into,
            Self::Append { to, .. } => to,
        }
    }

    /// Does to a value what the edit does to its text; `None` if it cannot be done.
    pub fn mean(&self, root: &mut Value) -> Option<()> {
        match self {
            Self::Set { at, value } => {
                let place = find(root, at.segments())?;
                let is_scalar = !matches!(place, Value::Null | Value::Array(_) | Value::Object(_));
                is_scalar.then(|| *place = value.to_json())
            }
            Self::Insert { into, entries } => {
                let fields = find(root, into.segments())?.as_object_mut()?;
                entries.iter().try_for_each(|(name, value)| match fields.insert(name.clone(), value.to_json()) {
                    None => Some(()),
                    Some(_before) => None,
                })
            }
            Self::Append { to, items } => {
                find(root, to.segments())?.as_array_mut()?.extend(items.iter().map(NewValue::to_json));
                Some(())
            }
            Self::Remove { at } => {
                let (last, parent) = at.segments().split_last()?;
                match (last, find(root, parent)?) {
                    (Segment::Field(name), Value::Object(fields)) => fields.remove(name).map(drop),
                    (Segment::Index(index), Value::Array(items)) if *index < items.len() => {
                        items.remove(*index);
                        Some(())
                    }
                    _ => None,
                }
            }
        }
    }
}

fn find<'v>(root: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(root, |value, segment| match (segment, value) {
        (Segment::Field(name), Value::Object(fields)) => fields.get_mut(name),
        (Segment::Index(index), Value::Array(items)) => items.get_mut(*index),
        _ => None,
    })
}

/// What of the text changes.
struct Plan<'t> {
    text: &'t str,
    layout: &'t Layout,
    line_end: &'static str,
    indents: Indents,
}

impl<'t> Plan<'t> {
    fn new(text: &'t str, layout: &'t Layout) -> Self {
        let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut plan = Self { text, layout, line_end, indents: Indents { list: 2, mapping: 2 } };
        let (mut lists, mut mappings) = (Vec::new(), Vec::new());
        plan.habits(layout, &mut lists, &mut mappings);
        plan.indents = Indents {
            list: lists.first().copied().unwrap_or(2),
            mapping: mappings.first().copied().filter(|columns| *columns > 0).unwrap_or(2),
        };
        plan
    }

    /// How far lists and mappings of the file are indented.
    fn habits(&self, layout: &Layout, lists: &mut Vec<usize>, mappings: &mut Vec<usize>) {
        match &layout.form {
            Form::Scalar(_) => {}
            Form::List(_, items) => items.iter().for_each(|item| self.habits(item, lists, mappings)),
            Form::Mapping(_, entries) => {
                for (name, value) in entries {
                    let found = match &value.form {
                        Form::List(Style::Block, _) => Some(&mut *lists),
                        Form::Mapping(Style::Block, _) => Some(&mut *mappings),
                        _ => None,
                    };
                    if let Some(found) = found {
                        found.extend(self.column(value.start).checked_sub(self.column(name.start)));
                    }
                    self.habits(value, lists, mappings);
                }
            }
        }
    }

    fn splices(&self, edit: &YamlEdit) -> Option<Vec<Splice>> {
        let there = self.layout.at(edit.place())?;
        match edit {
            YamlEdit::Set { value, .. } => self.set(there, value),
            YamlEdit::Insert { entries, .. } => match &there.form {
                Form::Mapping(Style::Flow, fields) => {
                    let new = entries.iter().map(|(name, value)| format!("{}: {}", quoted(name), value.flow()));
                    self.add_to_flow(
                        there,
                        fields.last().map(|(name, value)| (name.start, value.end)),
                        &new.collect::<Vec<_>>(),
                    )
                }
                Form::Mapping(Style::Block, fields) => self.add_to_block_mapping(fields, entries),
                _ => None,
            },
            YamlEdit::Append { items, .. } => match &there.form {
                Form::List(Style::Flow, old) => {
                    let new: Vec<String> = items.iter().map(NewValue::flow).collect();
                    self.add_to_flow(there, old.last().map(|item| (item.start, item.end)), &new)
                }
                Form::List(Style::Block, old) => self.add_to_block_list(self.column(there.start), old, items),
                _ => None,
            },
            YamlEdit::Remove { at } => {
                let (last, parent) = at.segments().split_last()?;
                let parent = self.layout.at(&FieldPath::new(parent.to_vec()))?;
                self.without(parent, last)
            }
        }
    }

    /// A scalar in the quotation marks of the old one, if it can stand in them.
    fn set(&self, there: &Layout, value: &NewValue) -> Option<Vec<Splice>> {
        let Form::Scalar(Some(quotes)) = there.form else { return None };
        let new = match value {
            NewValue::List(_) | NewValue::Mapping(_) => return None,
            NewValue::Number(number) => number.to_string(),
            NewValue::Text(text) if quotes == Quotes::Single && !text.chars().any(char::is_control) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            NewValue::Text(text) if quotes == Quotes::Double => {
                let new = quoted(text);
                if new.starts_with('"') { new } else { format!("\"{new}\"") }
            }
            // A plain time stays plain.
            NewValue::Text(text) if text.parse::<jiff::Timestamp>().is_ok() => text.clone(),
            NewValue::Text(text) => quoted(text),
        };
        Some(vec![(there.start..there.end, new)])
    }

    /// Adds to a collection in brackets: behind the last one, or on lines of their own where that has its own.
    fn add_to_flow(&self, there: &Layout, last: Option<(usize, usize)>, new: &[String]) -> Option<Vec<Splice>> {
        let Some((start, end)) = last else {
            let inside = there.start.checked_add(1)?;
            return Some(vec![(inside..inside, new.join(", "))]);
        };
        let blanks = self.text.get(self.line_start(start)..start)?;
        let rest = self.text.get(end..self.line_end(end))?.trim_start();
        let (comma, comment) = match rest.strip_prefix(',') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, rest),
        };
        let own_line = blanks.trim().is_empty() && (comment.is_empty() || comment.starts_with('#'));
        if !own_line {
            return Some(vec![(end..end, format!(", {}", new.join(", ")))]);
        }
        let at = self.line_end(end);
        let separator = format!(",{}{blanks}", self.line_end);
        let lines = format!("{}{blanks}{}{}", self.line_end, new.join(&separator), if comma { "," } else { "" });
        let first = if comma { String::new() } else { ",".to_owned() };
        Some(vec![(end..end, first), (at..at, lines)])
    }

    fn add_to_block_mapping(&self, fields: &[(Name, Layout)], new: &[(String, NewValue)]) -> Option<Vec<Splice>> {
        let (name, value) = fields.last()?;
        let column = self.column(fields.first().map_or(name.start, |(name, _)| name.start));
        let lines: String = new
            .iter()
            .map(|(name, value)| {
                let levels = levels_of_siblings(fields, value);
                let rest = value.after_name(column, levels, self.indents);
                format!("\n{}{}:{rest}", pad(column), quoted(name))
            })
            .collect();
        self.lines_after(value, &lines)
    }

    fn add_to_block_list(&self, column: usize, old: &[Layout], new: &[NewValue]) -> Option<Vec<Splice>> {
        let last = old.last()?;
        let levels = last.block_levels();
        let lines: String =
            new.iter().map(|item| format!("\n{}{}", pad(column), item.item(column, levels, self.indents))).collect();
        self.lines_after(last, &lines)
    }

    /// Lines behind the last line of a value and the comment on it.
    fn lines_after(&self, last: &Layout, lines: &str) -> Option<Vec<Splice>> {
        let at = self.line_end(self.trimmed_end(last)?);
        Some(vec![(at..at, lines.replace('\n', self.line_end))])
    }

    fn without(&self, parent: &Layout, which: &Segment) -> Option<Vec<Splice>> {
        // What belongs to each: from key or dash to the end of the value.
        let (style, parts): (Style, Vec<Range<usize>>) = match &parent.form {
            Form::Mapping(style, fields) => {
                let part = |(name, value): &(Name, Layout)| Some(name.start..self.trimmed_end(value)?);
                (*style, fields.iter().map(part).collect::<Option<_>>()?)
            }
            Form::List(Style::Flow, items) => (Style::Flow, items.iter().map(|item| item.start..item.end).collect()),
            Form::List(Style::Block, items) => {
                let dashes = self.dashes(parent, items)?;
                let part = |(dash, item): (usize, &Layout)| Some(dash..self.trimmed_end(item)?);
                (Style::Block, dashes.into_iter().zip(items).map(part).collect::<Option<_>>()?)
            }
            Form::Scalar(_) => return None,
        };
        let index = match (which, &parent.form) {
            (Segment::Field(wanted), Form::Mapping(_, fields)) => {
                fields.iter().position(|(name, _)| name.text == *wanted)?
            }
            (Segment::Index(index), _) => *index,
            _ => return None,
        };
        let part = parts.get(index)?;
        let before = index.checked_sub(1).and_then(|before| parts.get(before));
        let after = index.checked_add(1).and_then(|after| parts.get(after));
        match style {
            Style::Block => self.without_lines(part, after),
            Style::Flow => self.without_item(part, before, after),
        }
    }

    /// Whole lines; where something else stands before it on its line, up to the next one.
    fn without_lines(&self, part: &Range<usize>, after: Option<&Range<usize>>) -> Option<Vec<Splice>> {
        let start = self.line_start(part.start);
        if !self.text.get(start..part.start)?.trim().is_empty() {
            return Some(vec![(part.start..after?.start, String::new())]);
        }
        Some(vec![(self.whole_lines(start, part.end), String::new())])
    }

    fn without_item(
        &self,
        part: &Range<usize>,
        before: Option<&Range<usize>>,
        after: Option<&Range<usize>>,
    ) -> Option<Vec<Splice>> {
        let start = self.line_start(part.start);
        let rest = self.text.get(part.end..self.line_end(part.end))?.trim_start();
        let (comma, comment) = match rest.strip_prefix(',') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, rest),
        };
        let alone =
            self.text.get(start..part.start)?.trim().is_empty() && (comment.is_empty() || comment.starts_with('#'));
        let mut splices = match (after, before) {
            _ if alone => vec![(self.whole_lines(start, part.end), String::new())],
            (Some(after), _) if !self.text.get(part.end..after.start)?.contains('#') => {
                vec![(part.start..after.start, String::new())]
            }
            (None, Some(before)) if !self.text.get(before.end..part.start)?.contains('#') => {
                vec![(before.end..part.end, String::new())]
            }
            (None, None) => vec![(part.clone(), String::new())],
            _ => return None,
        };
        // Without a comma behind the last one there is none behind the one that is the last now.
        if alone
            && !comma
            && after.is_none()
            && let Some(before) = before
        {
            let between = self.text.get(before.end..part.start)?;
            let comma = before.end
                + between.find(',').filter(|at| between.get(..*at).is_some_and(|gap| gap.trim().is_empty()))?;
            splices.push((comma..comma + 1, String::new()));
        }
        Some(splices)
    }

    /// The lines from `start`, the first of a line, to that of `end`, with one line end.
    fn whole_lines(&self, start: usize, end: usize) -> Range<usize> {
        let end = self.line_end(end);
        let rest = self.text.get(end..).unwrap_or_default();
        match rest.find('\n') {
            Some(at) => start..end + at + 1,
            // The last line has no end: that of the line before goes instead.
            None => self.text.get(..start).map_or(start, |before| before.trim_end_matches(['\r', '\n']).len())..end,
        }
    }

    /// The `-` of each item of a list in block style: one below the other, the first where the list starts.
    fn dashes(&self, list: &Layout, items: &[Layout]) -> Option<Vec<usize>> {
        let column = self.column(list.start);
        let mut dashes = vec![list.start];
        for before in items.split_last().map_or(&[][..], |(_, rest)| rest) {
            let mut at = self.line_start(self.trimmed_end(before)?);
            loop {
                at += self.text.get(at..)?.find('\n')? + 1;
                let (blanks, rest) = self.text.get(at..)?.split_at_checked(column)?;
                if blanks.trim_matches(' ').is_empty() && rest.starts_with('-') {
                    break;
                }
            }
            dashes.push(at + column);
        }
        Some(dashes)
    }

    /// Where a value ends, without the line ends that belong to a block scalar.
    fn trimmed_end(&self, value: &Layout) -> Option<usize> {
        Some(self.text.get(..value.end)?.trim_end().len())
    }

    fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1)
    }

    /// Where the line ends: at its line feed, or the carriage return before it.
    fn line_end(&self, at: usize) -> usize {
        let line = self.text.get(at..).and_then(|rest| rest.split('\n').next()).unwrap_or_default();
        at + line.trim_end_matches('\r').len()
    }

    fn column(&self, at: usize) -> usize {
        self.text.get(self.line_start(at)..at).map_or(0, |before| before.chars().count())
    }
}

/// In how many levels of block style a new field is written: as the last one of the same kind, else as the last one.
fn levels_of_siblings(fields: &[(Name, Layout)], new: &NewValue) -> usize {
    let alike = |layout: &Layout| {
        matches!((&layout.form, new), (Form::List(..), NewValue::List(_)) | (Form::Mapping(..), NewValue::Mapping(_)))
    };
    let sibling = fields.iter().rev().map(|(_, value)| value);
    sibling.clone().find(|value| alike(value)).or_else(|| sibling.clone().next()).map_or(0, Layout::block_levels)
}
