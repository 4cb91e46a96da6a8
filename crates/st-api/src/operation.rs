//! What each path takes and gives. One constant per operation ties the path to the types of its
//! request and its answer, so that the router, the OpenAPI document and the reference cannot disagree.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use st_store::Role;

use crate::input::{FieldFault, Fields, Shape};
use crate::problem::Code;

/// The methods that the interface uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or does something.
    Post,
    /// Sets.
    Put,
    /// Changes some members.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// As in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone, without a login.
    Public,
    /// Every caller with a login, whatever it allows.
    SignedIn,
    /// Callers with this role or a higher one.
    Role(Role),
}

/// The group that the reference shows an operation in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Jobs.
    Jobs,
    /// The queue.
    Queue,
    /// Approval rules and requests.
    Approvals,
    /// Providers and their settings.
    Providers,
    /// Quotas and budgets.
    Quotas,
    /// Webhooks, in and out.
    Webhooks,
    /// Named configurations.
    Configs,
    /// Keys, sessions and the audit trail.
    Accounts,
    /// Events as they happen.
    Events,
    /// Figures.
    Metrics,
    /// Health, tasks and the log.
    Operation,
}

impl Group {
    /// Every group, in the order of the reference.
    pub const ALL: [Self; 11] = [
        Self::Jobs,
        Self::Queue,
        Self::Approvals,
        Self::Providers,
        Self::Quotas,
        Self::Webhooks,
        Self::Configs,
        Self::Accounts,
        Self::Events,
        Self::Metrics,
        Self::Operation,
    ];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Jobs => "Jobs",
            Self::Queue => "Queue",
            Self::Approvals => "Approvals",
            Self::Providers => "Providers",
            Self::Quotas => "Quotas",
            Self::Webhooks => "Webhooks",
            Self::Configs => "Configurations",
            Self::Accounts => "Accounts",
            Self::Events => "Events",
            Self::Metrics => "Metrics",
            Self::Operation => "Operation",
        }
    }
}

/// A query or a body, read strictly.
pub trait Input: Sized {
    /// The member that a body is read as when it is a list; `None` where a body must be an object.
    const LIST: Option<&'static str> = None;

    /// Reads it. `None` only with a fault noted.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// Reads all of an object, and refuses what it does not ask for.
    ///
    /// # Errors
    /// Every fault.
    fn from_fields(fields: Fields) -> Result<Self, Vec<FieldFault>> {
        let mut fields = fields.without_empty_texts();
        let read = Self::read(&mut fields);
        fields.finish()?;
        read.ok_or_else(|| {
            vec![FieldFault { pointer: String::new(), message: "cannot be read".to_owned() }]
        })
    }
}

/// No query, or no body: nothing is legal.
impl Input for () {
    fn read(_fields: &mut Fields) -> Option<Self> {
        Some(())
    }
}

/// An answer, which describes itself.
pub trait Answer: Serialize + JsonSchema {}

impl<T: Serialize + JsonSchema> Answer for T {}

/// What a path names, if it names something.
pub trait Named: Sized {
    /// The parameter in the path and what it may be; `None` where the path names nothing.
    const PARAMETER: Option<Parameter>;

    /// Reads it. `None` where nothing can have that name, which is then answered as not found.
    fn parse(name: &str) -> Option<Self>;
}

/// A parameter of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name between the braces.
    pub name: &'static str,
    /// What is named, such as `approval rule`.
    pub what: &'static str,
    /// Whether it is a number.
    pub numeric: bool,
    /// What it is, in one sentence.
    pub description: &'static str,
}

impl Named for () {
    const PARAMETER: Option<Parameter> = None;

    fn parse(_name: &str) -> Option<Self> {
        Some(())
    }
}

/// What an operation answers when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// JSON of the type of its answer.
    Json,
    /// Server-Sent Events; the type of its answer is the `data` of one.
    EventStream,
    /// Text.
    Text,
    /// A web page.
    Html,
    /// The text format of Prometheus or `OpenMetrics`, by what the client accepts.
    Metrics,
    /// The same, or JSON of the type of its answer where the client accepts only that.
    MetricsOrJson,
}

/// What the requests of an operation are for. Of each kind only so many are answered at once, so that a
/// flood of one keeps none of another out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Health and metrics: answered also when there are too many others.
    Vital,
    /// What providers report. Anyone may send it, however slowly.
    Received,
    /// What a person or a program waits for.
    Interactive,
    /// Many things at once, which may as well be done later.
    Bulk,
}

/// An operation: a method on a path. `P` is what the path names, `Q` the query, `B` the body, `A` the
/// answer.
#[derive(Debug)]
pub struct Operation<P, Q, B, A> {
    /// Its text, without the types.
    pub about: About,
    types: PhantomData<fn(P, Q, B) -> A>,
}

/// The text of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Its name in the OpenAPI document.
    pub id: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path, with braces around what is named in it.
    pub path: &'static str,
    /// Where the reference shows it.
    pub group: Group,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The rest of what there is to know.
    pub description: &'static str,
    /// Who may ask.
    pub access: Access,
    /// The problems that only it has: those of every operation are left out.
    pub problems: &'static [Code],
    /// A query that works, without the question mark.
    pub example_query: &'static str,
    /// A body that works, as JSON.
    pub example_body: &'static str,
    /// What it answers.
    pub media: Media,
    /// What its requests are for.
    pub lane: Lane,
}

impl<P, Q, B, A> Operation<P, Q, B, A> {
    /// An operation that viewers and everyone above may ask for, and wait for.
    pub const fn new(group: Group, method: Method, path: &'static str, id: &'static str) -> Self {
        let about = About {
            id,
            method,
            path,
            group,
            summary: "",
            description: "",
            access: Access::Role(Role::Viewer),
            problems: &[],
            example_query: "",
            example_body: "",
            media: Media::Json,
            lane: Lane::Interactive,
        };
        Self { about, types: PhantomData }
    }

    /// What it does, in a few words.
    #[must_use]
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.about.summary = summary;
        self
    }

    /// The rest of what there is to know.
    #[must_use]
    pub const fn description(mut self, description: &'static str) -> Self {
        self.about.description = description;
        self
    }

    /// Callers with this role or a higher one may ask.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.about.access = Access::Role(role);
        self
    }

    /// Everyone may ask, without a login.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.about.access = Access::Public;
        self
    }

    /// Every caller with a login may ask.
    #[must_use]
    pub const fn signed_in(mut self) -> Self {
        self.about.access = Access::SignedIn;
        self
    }

    /// The problems that only it has.
    #[must_use]
    pub const fn problems(mut self, problems: &'static [Code]) -> Self {
        self.about.problems = problems;
        self
    }

    /// A query that works, without the question mark.
    #[must_use]
    pub const fn example_query(mut self, query: &'static str) -> Self {
        self.about.example_query = query;
        self
    }

    /// A body that works, as JSON.
    #[must_use]
    pub const fn example_body(mut self, body: &'static str) -> Self {
        self.about.example_body = body;
        self
    }

    /// What its requests are for, where nobody waits for them or they must always be answered.
    #[must_use]
    pub const fn lane(mut self, lane: Lane) -> Self {
        self.about.lane = lane;
        self
    }

    /// What it answers, where that is not JSON.
    #[must_use]
    pub const fn media(mut self, media: Media) -> Self {
        self.about.media = media;
        self
    }
}

/// An operation without its types, for the OpenAPI document and the reference.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its text.
    pub about: About,
    /// What its path names.
    pub parameter: Option<Parameter>,
    /// What its query may have.
    pub query: Shape,
    /// What its body may have.
    pub body: Shape,
    /// Whether its body may be a list, which is then read as one of the members.
    pub body_as_list: bool,
    /// The schema of its answer.
    pub answer: fn(&mut SchemaGenerator) -> Schema,
}

impl<P: Named, Q: Input, B: Input, A: Answer> Operation<P, Q, B, A> {
    /// Without its types.
    pub fn describe(&self) -> Described {
        Described {
            about: self.about,
            parameter: P::PARAMETER,
            query: Fields::shape_of(|fields| Q::read(fields)),
            body: Fields::shape_of(|fields| B::read(fields)),
            body_as_list: B::LIST.is_some(),
            answer: |generator| generator.subschema_for::<A>(),
        }
    }
}

/// The problems that every operation may have.
const EVERYWHERE: [Code; 14] = [
    Code::BadRequest,
    Code::BadHost,
    Code::UnknownHost,
    Code::InternalError,
    Code::Stopping,
    Code::StoreBusy,
    Code::StoreUnavailable,
    Code::StoreTimeout,
    Code::DatabaseDetached,
    Code::OutcomeUnknown,
    Code::Damaged,
    Code::Overloaded,
    Code::CrossSite,
    Code::DeadlineExceeded,
];

impl Described {
    /// The problems that it may answer with, those of every operation too.
    pub fn codes(&self) -> BTreeSet<Code> {
        let mut codes = BTreeSet::from(EVERYWHERE);
        if matches!(self.about.access, Access::SignedIn | Access::Role(_)) {
            codes.extend([
                Code::Unauthenticated,
                Code::Forbidden,
                Code::BadCsrfToken,
                Code::TooManyAttempts,
            ]);
        }
        if self.parameter.is_some() {
            codes.extend([Code::BadPath, Code::NotFound]);
        }
        // Every query is read, if only to refuse what it has.
        codes.insert(Code::InvalidRequest);
        if self.has_body() {
            codes.extend([
                Code::MalformedJson,
                Code::UnreadableBody,
                Code::NotJson,
                Code::BodyTooLarge,
                Code::BodyTooSlow,
            ]);
        }
        codes.extend(self.about.problems);
        codes
    }

    /// Whether it reads a body.
    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }
}
