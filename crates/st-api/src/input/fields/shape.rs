//! The shape of what a reader takes, as it describes itself: by reading nothing and noting what it
//! asks for. So that a description and its parser are one text.

use serde_json::{Map, Value, json};

/// In the place of a name: any.
pub const ANY_NAME: &str = "*";

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Text, of at most so many bytes.
    Text {
        /// The most bytes that it may have.
        longest: Option<usize>,
    },
    /// A name of at most so many bytes, which may be a number.
    Name {
        /// The most bytes that it may have.
        longest: usize,
    },
    /// One of these words.
    Word(Vec<&'static str>),
    /// True or false.
    Boolean,
    /// A whole number in a range.
    Whole {
        /// The least one.
        least: i64,
        /// The greatest one.
        most: i64,
    },
    /// A number in a range.
    Number {
        /// The least one.
        least: f64,
        /// The greatest one.
        most: f64,
    },
    /// A list of such values.
    List(Box<Self>),
    /// A list of whole numbers, as numbers or as text.
    Numbers {
        /// How many there may be.
        most: usize,
    },
    /// An object with members of any names.
    Free,
    /// An object.
    Object(Shape),
}

/// The members of an object, in the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    name: String,
    kind: Kind,
    required: bool,
    /// Whether null is a value of it, and not only another word for not given.
    nullable: bool,
}

impl Shape {
    /// Notes a member; what is known of it already stays.
    pub(super) fn note(&mut self, name: &str, kind: Kind) {
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) if member.kind == Kind::Any => member.kind = kind,
            Some(_) => {}
            None => self.members.push(Member {
                name: name.to_owned(),
                kind,
                required: false,
                nullable: false,
            }),
        }
    }

    pub(super) fn require(&mut self, name: &str) {
        if let Some(member) = self.members.iter_mut().find(|member| member.name == name) {
            member.required = true;
        }
    }

    pub(super) fn allow_null(&mut self, name: &str) {
        if let Some(member) = self.members.iter_mut().find(|member| member.name == name) {
            member.nullable = true;
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The names of the members that must be there.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|member| member.required).map(|member| member.name.as_str())
    }

    /// The members: the name of each, and what it may be.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.members.iter().map(|member| (member.name.as_str(), &member.kind))
    }

    /// Everything within that is no object with known members: its path with dots, and what it may be.
    pub fn leaves(&self) -> Vec<(String, &Kind)> {
        let mut leaves = Vec::new();
        self.collect("", &mut leaves);
        leaves
    }

    fn collect<'s>(&'s self, above: &str, leaves: &mut Vec<(String, &'s Kind)>) {
        for Member { name, kind, .. } in &self.members {
            let path = format!("{above}{name}");
            match kind {
                Kind::Object(shape) => shape.collect(&format!("{path}."), leaves),
                Kind::Any
                | Kind::Text { .. }
                | Kind::Name { .. }
                | Kind::Word(_)
                | Kind::Boolean
                | Kind::Whole { .. }
                | Kind::Number { .. }
                | Kind::Free
                | Kind::List(_)
                | Kind::Numbers { .. } => leaves.push((path, kind)),
            }
        }
    }

    /// As JSON Schema, draft 2020-12. `describe`: the description of the member with this path.
    pub fn schema(&self, describe: &impl Fn(&str) -> Option<String>) -> Value {
        self.schema_at("", describe)
    }

    /// The same for the body of a request, in which a member that is null counts as not given.
    pub(crate) fn body_schema(&self) -> Value {
        let mut schema = self.schema(&|_path| None);
        self.allow_nulls(&mut schema);
        schema
    }

    fn allow_nulls(&self, schema: &mut Value) {
        let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
        for Member { name, kind, required, nullable } in &self.members {
            let Some(schema) = properties.get_mut(name) else { continue };
            if let Kind::Object(shape) = kind {
                shape.allow_nulls(schema);
            }
            if *kind != Kind::Any && (*nullable || !required) {
                *schema = json!({"anyOf": [schema.take(), {"type": "null"}]});
            }
        }
    }

    fn schema_at(&self, above: &str, describe: &impl Fn(&str) -> Option<String>) -> Value {
        let mut properties = Map::new();
        let mut others = Value::Bool(false);
        for Member { name, kind, .. } in &self.members {
            let path = format!("{above}{name}");
            let mut schema = kind.schema(&path, describe);
            if let (Value::Object(schema), Some(text)) = (&mut schema, describe(&path)) {
                schema.insert("description".to_owned(), text.into());
            }
            if name == ANY_NAME {
                others = schema;
            } else {
                properties.insert(name.clone(), schema);
            }
        }
        let required: Vec<&str> = self.required().collect();
        let mut schema = json!({"type": "object", "additionalProperties": others});
        if let Value::Object(schema) = &mut schema {
            if !properties.is_empty() {
                schema.insert("properties".to_owned(), properties.into());
            }
            if !required.is_empty() {
                schema.insert("required".to_owned(), required.into());
            }
        }
        schema
    }
}

impl Kind {
    pub(crate) fn schema(&self, path: &str, describe: &impl Fn(&str) -> Option<String>) -> Value {
        match self {
            Self::Any => json!({}),
            Self::Text { longest: None } => json!({"type": "string"}),
            Self::Text { longest: Some(longest) } => {
                json!({"type": "string", "maxLength": longest})
            }
            Self::Name { longest } => {
                json!({"type": ["string", "integer"], "maxLength": longest})
            }
            Self::Word(words) => json!({"type": "string", "enum": words}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Whole { least, most } => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Self::Number { least, most } => {
                json!({"type": "number", "minimum": least, "maximum": most})
            }
            Self::List(items) => {
                json!({"type": "array", "items": items.schema(path, describe)})
            }
            Self::Numbers { most } => {
                let items = json!({"type": ["integer", "string"]});
                json!({"type": "array", "items": items, "maxItems": most})
            }
            Self::Free => json!({"type": "object"}),
            Self::Object(shape) => shape.schema_at(&format!("{path}."), describe),
        }
    }

    /// In words, for a table.
    pub fn words(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Text { .. } => "text".to_owned(),
            Self::Name { .. } => "text or whole number".to_owned(),
            Self::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Whole { least, most } => format!("whole number, {least} to {most}"),
            Self::Number { least, most } => format!("number, {least} to {most}"),
            Self::List(items) => format!("list: {}", items.words()),
            Self::Numbers { most } => format!("list of up to {most} whole numbers"),
            Self::Free | Self::Object(_) => "section".to_owned(),
        }
    }
}
