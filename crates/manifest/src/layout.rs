//! Where each value of a YAML document begins and ends, and how it is written: what an edit of its text needs to know.
//! Only for text that [`parse_yaml`](crate::parse_yaml) has accepted, so it holds no anchors, aliases and tags.

use libyaml_safer::{Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use crate::{FieldPath, Segment};

/// A value in the text. Both ends are bytes; a block collection ends where the last value in it does.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) form: Form,
}

/// How a value is written.
#[derive(Debug)]
pub(crate) enum Form {
    /// A scalar; `None` for a block scalar.
    Scalar(Option<Quotes>),
    /// A list.
    List(Style, Vec<Layout>),
    /// A mapping: each key with where it begins.
    Mapping(Style, Vec<(Name, Layout)>),
}

/// A key in the text.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) start: usize,
}

/// The quotation marks of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// None.
    Plain,
    /// `'`.
    Single,
    /// `"`.
    Double,
}

/// The style of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// By indentation.
    Block,
    /// In brackets.
    Flow,
}

impl Layout {
    /// The first document of the text that is a collection; `None` if there is none, or the text has another form than
    /// what was accepted.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut bytes = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut bytes);
        let mut walk = Walk { parser };
        loop {
            let event = walk.next()?;
            match event.data {
                EventData::StreamEnd => return None,
                EventData::DocumentStart { .. } => {
                    let first = walk.next()?;
                    let root = walk.value(&first)?;
                    if !matches!(root.form, Form::Scalar(_)) {
                        return Some(root);
                    }
                }
                // Stream start and document end carry nothing.
                _ => {}
            }
        }
    }

    /// The value at a path of fields and indices.
    pub(crate) fn at(&self, path: &FieldPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |layout, segment| layout.child(segment))
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match (segment, &self.form) {
            (Segment::Field(name), Form::Mapping(_, entries)) => {
                entries.iter().find(|(key, _)| key.text == *name).map(|(_, value)| value)
            }
            (Segment::Index(index), Form::List(_, items)) => items.get(*index),
            _ => None,
        }
    }

    /// How many levels of block style are nested in it.
    pub(crate) fn block_levels(&self) -> usize {
        match &self.form {
            Form::List(Style::Block, items) => 1 + items.iter().map(Self::block_levels).max().unwrap_or(0),
            Form::Mapping(Style::Block, entries) => {
                1 + entries.iter().map(|(_, value)| value.block_levels()).max().unwrap_or(0)
            }
            Form::List(Style::Flow, _) | Form::Mapping(Style::Flow, _) | Form::Scalar(_) => 0,
        }
    }
}

struct Walk<'b> {
    parser: Parser<&'b mut &'b [u8]>,
}

impl Walk<'_> {
    fn next(&mut self) -> Option<Event> {
        self.parser.parse().ok()
    }

    fn value(&mut self, event: &Event) -> Option<Layout> {
        let start = offset(event.start_mark.index)?;
        let end = offset(event.end_mark.index)?;
        match event.data {
            EventData::Scalar { style, .. } => {
                let quotes = match style {
                    ScalarStyle::Plain => Some(Quotes::Plain),
                    ScalarStyle::SingleQuoted => Some(Quotes::Single),
                    ScalarStyle::DoubleQuoted => Some(Quotes::Double),
                    _ => None,
                };
                Some(Layout { start, end, form: Form::Scalar(quotes) })
            }
            EventData::SequenceStart { style, .. } => self.list(start, style),
            EventData::MappingStart { style, .. } => self.mapping(start, style),
            _ => None,
        }
    }

    fn list(&mut self, start: usize, style: SequenceStyle) -> Option<Layout> {
        let style = if style == SequenceStyle::Flow { Style::Flow } else { Style::Block };
        let mut items: Vec<Layout> = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                let last = items.last().map_or(start, |item| item.end);
                let end = if style == Style::Flow { offset(event.end_mark.index)? } else { last };
                return Some(Layout { start, end, form: Form::List(style, items) });
            }
            items.push(self.value(&event)?);
        }
    }

    fn mapping(&mut self, start: usize, style: MappingStyle) -> Option<Layout> {
        let style = if style == MappingStyle::Flow { Style::Flow } else { Style::Block };
        let mut entries: Vec<(Name, Layout)> = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                let last = entries.last().map_or(start, |(_, value)| value.end);
                let end = if style == Style::Flow { offset(event.end_mark.index)? } else { last };
                return Some(Layout { start, end, form: Form::Mapping(style, entries) });
            }
            let start = offset(event.start_mark.index)?;
            let EventData::Scalar { value: text, .. } = event.data else { return None };
            let value = self.next()?;
            entries.push((Name { text, start }, self.value(&value)?));
        }
    }
}

fn offset(index: u64) -> Option<usize> {
    usize::try_from(index).ok()
}
