//! Typed templates: a tree of YAML is copied, and only leaves that hold `{{ … }}` are replaced. A leaf
//! that is one reference takes the value with its type; within a text only scalars are put. What a
//! value contains is never read as a template.

use serde_json::{Map, Value};

use super::filter::{Filter, FilterError};
use super::pointer::scalar;
use super::section::{Faults, Place, kind, nearest};
use super::values::{Scope, Values};

/// Why a template has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    /// What it refers to is not there.
    #[error("{reference} is required")]
    Missing {
        /// Such as `input.config.model`.
        reference: String,
    },
    /// It is put into a text and has none.
    #[error("{reference} must be text or a number, found {found}")]
    NoText {
        /// The reference.
        reference: String,
        /// What it is instead.
        found: &'static str,
    },
    /// A filter cannot be applied to it.
    #[error("{reference} cannot be used: {error}")]
    Filter {
        /// The reference.
        reference: String,
        /// Why.
        #[source]
        error: FilterError,
    },
    /// The place does not take such a text.
    #[error("{0}")]
    Place(String),
}

/// `{{ root.path? | filter }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The root and the way below it.
    pub(super) path: Vec<String>,
    /// Whether it may be absent.
    optional: bool,
    filter: Option<Filter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Reference(Reference),
}

/// A text that may hold references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

/// A value that may hold templates.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Plain(Value),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Reference {
    fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let (path, filter) = match text.split_once('|') {
            Some((path, filter)) => (path.trim(), Some(Filter::parse(filter.trim())?)),
            None => (text.trim(), None),
        };
        let (path, optional) = match path.strip_suffix('?') {
            Some(path) => (path.trim_end(), true),
            None => (path, false),
        };
        let legal = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
        if parts.iter().any(|part| part.is_empty() || !part.chars().all(legal)) {
            return Err(format!(
                "{{{{ {} }}}} is no reference, expected such as {{{{ input.config.model }}}}",
                text.trim()
            ));
        }
        scope.check(&parts)?;
        Ok(Self { path: parts, optional, filter })
    }

    /// Whether its filter takes an object.
    pub(super) fn takes_an_object(&self) -> bool {
        matches!(self.filter, Some(Filter::EnvList | Filter::NameValue))
    }

    fn name(&self) -> String {
        self.path.join(".")
    }

    /// Its value; `None` where it may be absent and is.
    fn value(&self, values: &Values<'_>) -> Result<Option<Value>, RenderError> {
        let Some(value) = values.get(&self.path) else {
            return if self.optional {
                Ok(None)
            } else {
                Err(RenderError::Missing { reference: self.name() })
            };
        };
        let Some(filter) = self.filter else { return Ok(Some(value.into_owned())) };
        let filtered = filter.apply(&value);
        filtered.map(Some).map_err(|error| RenderError::Filter { reference: self.name(), error })
    }

    fn text(&self, values: &Values<'_>) -> Result<Option<String>, RenderError> {
        let Some(value) = self.value(values)? else { return Ok(None) };
        let no_text = || RenderError::NoText { reference: self.name(), found: kind(&value) };
        scalar(&value).map(Some).ok_or_else(no_text)
    }
}

impl Template {
    /// Reads a text; its faults name the place.
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults, scope: &Scope<'_>) -> Option<Self> {
        let text = place.text(faults)?;
        match Self::parse(text, scope) {
            Ok(template) => Some(template),
            Err(message) => place.fault(faults, message),
        }
    }

    pub(super) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((reference, behind)) = after.split_once("}}") else {
                return Err("a {{ is not closed with }}".to_owned());
            };
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(Part::Reference(Reference::parse(reference, scope)?));
            rest = behind;
        }
        if rest.contains("}}") {
            return Err("a }} has no {{ before it".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Literal(_) => None,
        })
    }

    /// Its literal parts, in order.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Reference(_) => None,
        })
    }

    /// As text, each value through `encode`; `None` where one that may be absent is.
    pub(super) fn text(
        &self,
        values: &Values<'_>,
        encode: impl Fn(&Reference, String) -> Result<String, RenderError>,
    ) -> Result<Option<String>, RenderError> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Reference(reference) => match reference.text(values)? {
                    Some(text) => out.push_str(&encode(reference, text)?),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(out))
    }

    /// As it is.
    pub(super) fn plain(&self, values: &Values<'_>) -> Result<Option<String>, RenderError> {
        self.text(values, |_, text| Ok(text))
    }

    /// With its type, where it is one reference and nothing else.
    fn value(&self, values: &Values<'_>) -> Result<Option<Value>, RenderError> {
        match self.0.as_slice() {
            [Part::Reference(reference)] => reference.value(values),
            _ => Ok(self.plain(values)?.map(Value::String)),
        }
    }
}

impl Tree {
    /// Reads a value whose leaves may be templates.
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults, scope: &Scope<'_>) -> Option<Self> {
        match place.value {
            Value::String(text) if text.contains("{{") || text.contains("}}") => {
                Template::read(place, faults, scope).map(Self::Text)
            }
            Value::Array(items) => {
                let read = |(index, item)| Self::read(&place.below(index, item), faults, scope);
                let read: Vec<Option<Self>> = items.iter().enumerate().map(read).collect();
                read.into_iter().collect::<Option<_>>().map(Self::List)
            }
            Value::Object(members) => {
                let mut read = Vec::new();
                for (key, member) in members {
                    if key.contains("{{") {
                        place.below(key, member).fault::<()>(faults, "a key may be no template");
                    }
                    read.push((key.clone(), Self::read(&place.below(key, member), faults, scope)));
                }
                let members = read.into_iter().map(|(key, tree)| Some((key, tree?)));
                members.collect::<Option<_>>().map(Self::Object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Some(Self::Plain(place.value.clone()))
            }
        }
    }

    /// The value; what may be absent and is leaves no trace.
    pub(super) fn value(&self, values: &Values<'_>) -> Result<Option<Value>, RenderError> {
        match self {
            Self::Plain(value) => Ok(Some(value.clone())),
            Self::Text(template) => template.value(values),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.value(values)?);
                }
                Ok(Some(Value::Array(list)))
            }
            Self::Object(members) => {
                let mut object = Map::new();
                for (key, member) in members {
                    if let Some(value) = member.value(values)? {
                        object.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(object)))
            }
        }
    }

    /// Every text in it that has references.
    pub(super) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Text(template) => vec![template],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(members) => {
                members.iter().flat_map(|(_, member)| member.templates()).collect()
            }
        }
    }

    /// Every reference in it.
    pub(super) fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Text(template) => template.references().collect(),
            Self::List(items) => items.iter().flat_map(Self::references).collect(),
            Self::Object(members) => {
                members.iter().flat_map(|(_, member)| member.references()).collect()
            }
        }
    }
}

impl Scope<'_> {
    /// Whether a template here may refer to this; else what it may refer to.
    fn check(&self, path: &[String]) -> Result<(), String> {
        let name = path.join(".");
        let (root, below) = path.split_first().map_or(("", path), |(root, path)| (root, path));
        let known = self.names.iter().any(|known| match known.strip_suffix(".*") {
            Some("vars") => root == "vars" && below.first().is_some_and(|it| self.has_var(it)),
            Some(open) => root == open && !below.is_empty(),
            None => *known == name,
        });
        if known {
            return Ok(());
        }
        if root == "vars" && self.names.contains(&"vars.*") {
            return Err(format!("there is no {name}, the vars are {}", self.vars_listed()));
        }
        Err(match nearest(&name, self.names) {
            Some(near) => format!("there is no {name} here, did you mean {near}?"),
            None => format!("there is no {name} here, expected one of {}", self.names.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests;
