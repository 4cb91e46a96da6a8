//! A provider as the configuration describes it, read and checked as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};
use st_store::{JobId, Marker, ProviderEnding};

use super::answers::{AnswerRule, Answers};
use super::base::BaseUrl;
use super::call::{Call, headers};
use super::job::{ENDINGS, JobShape, Price, Prices};
use super::list::List;
use super::logs::Logs;
use super::once::Once;
use super::pointer::{Pointer, scalar};
use super::rule::Condition;
use super::secret::{Auth, fingerprint_of};
use super::section::{DescriptionFault, Faults, Place, Section};
use super::template::{Reference, Template};
use super::units;
use super::values::{ACCOUNT, FIND, JOB, LIST, SUBMIT, Scope, Values, parse_marker};
use crate::provider::MAY_ARRIVE_FOR;
use crate::provider::rate::Rate;
use crate::served::LONGEST_CALL;

/// Jobs that the provider deletes are looked for at most so much later.
pub(super) const MOST_IN_FLIGHT: u64 = 1000;

/// A described provider.
#[derive(Debug, Clone)]
pub struct Description {
    pub(super) base: BaseUrl,
    /// How people and the store call the account, where the provider does not say.
    pub(super) account: Option<String>,
    pub(super) vars: Map<String, Value>,
    pub(super) auth: Option<Auth>,
    ca_file: Option<PathBuf>,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) once: Once,
    pub(super) may_arrive_for: Option<Duration>,
    pub(super) submit: Call,
    pub(super) status: Call,
    pub(super) list: Option<List>,
    pub(super) find: Option<List>,
    pub(super) cancel: Option<Cancel>,
    pub(super) sweep: Option<Sweep>,
    pub(super) logs: Option<Logs>,
    pub(super) validate: Option<Validate>,
    pub(super) job: JobShape,
    pub(super) answers: Answers,
    pub(super) limits: Limits,
    pub(super) hardware: BTreeMap<String, String>,
    pub(super) prices: Prices,
    /// Which of the jobs that the provider ended by itself run once more.
    pub(super) retry_on: BTreeSet<ProviderEnding>,
}

/// How a job is cancelled.
#[derive(Debug, Clone)]
pub(super) struct Cancel {
    pub(super) call: Call,
    /// Whether the answer is the job as it is then.
    pub(super) answers_job: bool,
}

/// How what is left of a finished job is removed.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    pub(super) call: Call,
    pub(super) after: Duration,
}

/// How a credential is tried.
#[derive(Debug, Clone)]
pub(super) struct Validate {
    pub(super) call: Call,
    /// Where the account's name is in the answer.
    pub(super) account: Option<Pointer>,
}

/// What the provider allows.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    pub(super) submit: Option<Rate>,
    pub(super) status: Option<Rate>,
    pub(super) list: Option<Rate>,
    pub(super) cancel: Option<Rate>,
    pub(super) logs: Option<Rate>,
    /// Calls at the same time.
    pub(super) in_flight: Option<usize>,
    /// Bytes of a submission.
    pub(super) body: Option<usize>,
    /// For how long the result of a job can be read.
    keeps: Option<Duration>,
}

impl Description {
    /// Reads a description; every fault at once, each with its place.
    pub fn read(value: &Value) -> Result<Self, Vec<DescriptionFault>> {
        let mut faults = Faults::default();
        let place = Place { value, pointer: String::new() };
        let empty = Map::new();
        let vars = value.get("vars").and_then(Value::as_object).unwrap_or(&empty);
        let read = place.section(&mut faults).and_then(|section| Self::of(section, vars));
        match read {
            Some(description) if faults.0.is_empty() => Ok(description),
            Some(_) | None => {
                if faults.0.is_empty() {
                    faults.add("", "is not a description of a provider");
                }
                Err(faults.0)
            }
        }
    }

    fn of(mut section: Section<'_, '_>, vars: &Map<String, Value>) -> Option<Self> {
        section.require("kind", |place, faults| place.word(faults, &[("http", ())]));
        check_vars(&mut section);
        let base = base(&mut section);
        let account = section.read("account", Place::text);
        let auth = section.get("auth");
        let auth = auth.map(|place| Auth::read(&place, section.faults));
        let ca_file = section.read("tls", |place, faults| {
            let mut section = place.section(faults)?;
            let path = section.require("ca_file", Place::text);
            section.finish();
            path.map(PathBuf::from)
        });
        let headers = headers(&mut section, &Scope::new(ACCOUNT, vars));
        let once = once(&mut section, vars);
        let may_arrive_for =
            section.read("may_arrive_for", |place, faults| place.parsed(faults, units::duration));
        let submit = section.require("submit", |place, faults| {
            Call::read(place, faults, &Scope::new(SUBMIT, vars))
        });
        let status = section.require("status", |place, faults| {
            let call = Call::read(place, faults, &Scope::new(JOB, vars))?;
            if call.is_reading() {
                return Some(call);
            }
            place.fault(faults, "a status must be a get, or say reads: true")
        });
        let list = section
            .read("list", |place, faults| List::read(place, faults, &Scope::new(LIST, vars)));
        let find = section
            .read("find", |place, faults| List::read(place, faults, &Scope::new(FIND, vars)));
        let cancel = section.read("cancel", |place, faults| Cancel::read(place, faults, vars));
        let sweep = section.read("sweep", |place, faults| Sweep::read(place, faults, vars));
        let logs = section.read("logs", |place, faults| Logs::read(place, faults, vars));
        let validate =
            section.read("validate", |place, faults| Validate::read(place, faults, vars));
        let job = section.require("job", JobShape::read);
        let own_error = section.read("own_error", Condition::read);
        let rules = section.read_each("answers", AnswerRule::read);
        let limits = section.read("limits", Limits::read).unwrap_or_default();
        let hardware = hardware(&mut section);
        let prices = prices(&mut section);
        let retry_on = section.read_each("retry_on", |place, faults| place.word(faults, &ENDINGS));
        let description = Self {
            base: base?,
            account: account.map(str::to_owned),
            vars: vars.clone(),
            auth: auth.flatten(),
            ca_file,
            headers: headers.unwrap_or_default(),
            once: once?,
            may_arrive_for,
            submit: submit?,
            status: status?,
            list,
            find,
            cancel,
            sweep,
            logs,
            validate,
            job: job?,
            answers: Answers { rules, own_error },
            limits,
            hardware,
            prices,
            retry_on: retry_on.into_iter().collect(),
        };
        description.check(&mut section);
        section.finish();
        Some(description)
    }

    /// Where its jobs are: the base URL, and the variables that its requests are addressed with.
    /// Under another of these the provider may well have none of the jobs.
    pub(super) fn realm(&self) -> String {
        let lists = [&self.list, &self.find].into_iter().flatten().map(|list| &list.call);
        let cancel = self.cancel.iter().map(|cancel| &cancel.call);
        let calls = [&self.submit, &self.status].into_iter().chain(lists).chain(cancel);
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let addressing = calls.flat_map(Call::addressing);
        let common = self.headers.iter().flat_map(|(_, template)| template.references());
        let name = match &self.once {
            Once::Name { name, .. } => Some(name),
            Once::Key { .. } | Once::Hold { .. } | Once::Marker | Once::Unguarded { .. } => None,
        };
        let name = name.into_iter().flat_map(Template::references);
        for reference in addressing.chain(common).chain(name) {
            if let [root, name, ..] = reference.path.as_slice()
                && root == "vars"
            {
                used.insert(name);
            }
        }
        let mut realm = self.base.text();
        for (name, mark) in used.iter().zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
            // One of them may be a secret, and the account is stored.
            let value = self.vars.get(*name).map(Value::to_string).unwrap_or_default();
            realm.extend([mark.to_string().as_str(), name, "=", &fingerprint_of(&value)]);
        }
        realm
    }

    /// Whether its parts agree with each other.
    fn check(&self, section: &mut Section<'_, '_>) {
        self.check_once(section);
        self.check_retries(section);
        if self.answers.believes_gateways() {
            let message = "a rule that means gone needs a condition of the body, or own_error: a \
                           gateway answers 404 as well";
            section.fault("answers", message);
        }
        let shows = |list: &Option<List>| list.as_ref().is_some_and(|list| list.marker.is_some());
        let is_found = shows(&self.list) || shows(&self.find);
        if matches!(self.once, Once::Hold { .. } | Once::Marker) && !is_found {
            let message = "needs a list or find with the pointer of the marker in its rows";
            section.fault("at_most_once", message);
        }
        if let Some(find) = &self.find
            && find.marker.is_none()
        {
            section.fault("find", "needs marker: where in a row the marker is");
        }
        if let Some(name) = self.job.counted_price()
            && !matches!(self.prices.get(name), Some(Price::PerUnit(_)))
        {
            let message = format!(
                "needs a price {name} with usd_per_unit or usd_per_million: job/cost counts with it"
            );
            section.fault("prices", message);
        }
    }

    /// Whether the status can say each ending after which a job is to run once more.
    fn check_retries(&self, section: &mut Section<'_, '_>) {
        for &ending in self.retry_on.iter().filter(|&&ending| !self.job.has_ending(ending)) {
            let message = format!("names {ending}, and no rule of job/status says ended: {ending}");
            section.fault("retry_on", message);
        }
    }

    /// Whether what is submitted can be found again in the way that is described.
    fn check_once(&self, section: &mut Section<'_, '_>) {
        let [first, second] = [1, 2].map(|attempt| Marker {
            job: JobId::new(jiff::Timestamp::UNIX_EPOCH, [0; 10]),
            attempt,
        });
        let values = Values::of_attempt(&self.vars, first);
        let has_marker = self.submit.has_text(&values, |text| parse_marker(text) == Some(first));
        let refers = |it: &&Reference| it.path.first().is_some_and(|it| it == "marker");
        let carries = match &self.once {
            // The provider compares keys and reads none.
            Once::Key { header, .. } => {
                header.is_some() || self.submit.references().iter().any(refers)
            }
            Once::Hold { .. } | Once::Marker => has_marker,
            Once::Name { .. } | Once::Unguarded { .. } => true,
        };
        if !carries {
            let message = "must carry the marker, as {{ marker.text }} or {{ marker.dns }} alone: by \
                           it a submission is found again";
            section.fault("submit", message);
        }
        if let Once::Name { name, .. } = &self.once {
            let of = |marker| name.plain(&Values::of_attempt(&self.vars, marker)).ok().flatten();
            let given = of(first);
            if given.is_none() || given == of(second) {
                let message =
                    "its name must differ from attempt to attempt, as {{ marker.dns }} does";
                section.fault("at_most_once", message);
            } else if !self.submit.has_text(&values, |text| given.as_deref() == Some(text)) {
                let message = "must give the job the name of at_most_once: by it a submission is \
                               found again";
                section.fault("submit", message);
            }
        }
        let (Once::Key { keep_for, .. } | Once::Name { keep_for, .. }) = &self.once else { return };
        let on_its_way = LONGEST_CALL + self.may_arrive_for.unwrap_or(MAY_ARRIVE_FOR);
        if *keep_for <= on_its_way {
            let message = format!(
                "keep_for must be longer than {on_its_way:?}, for which a submission may be under way"
            );
            section.fault("at_most_once", message);
        }
        if self.sweep.as_ref().is_some_and(|sweep| sweep.after < *keep_for) {
            let message = "after may not be shorter than keep_for: what is removed can be submitted \
                           again under its name";
            section.fault("sweep", message);
        }
    }

    /// Certificates that are trusted beside those of the system.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// For how long the result of a finished job can be read, where that is limited. It must be
    /// polled at least three times within it.
    pub fn keeps(&self) -> Option<Duration> {
        self.limits.keeps
    }

    /// What an operator must know at every start: each a sentence.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Once::Unguarded { accepted, .. } = &self.once {
            let what = "a submission whose reply is lost cannot be found again";
            warnings.push(format!("{what}; accepted: {accepted}"));
        }
        if self.base.is_clear && !self.base.is_loopback {
            warnings.push("requests and the credential travel in clear text".to_owned());
        }
        warnings
    }

    /// What is not described and could be: each a sentence.
    pub fn hints(&self) -> Vec<String> {
        let lists = [&self.list, &self.find].into_iter().flatten();
        let is_partial = lists.clone().any(|list| list.covers != super::list::Covers::All);
        let priced = !self.job.is_priced_by_time() || !self.prices.is_empty();
        let hints = [
            (self.cancel.is_none(), "no cancel: a job that is cancelled here goes on there"),
            (self.logs.is_none(), "no logs: what a job prints cannot be read"),
            (
                self.answers.own_error.is_none(),
                "no own_error: a job that the provider refuses counts as one of unknown outcome",
            ),
            (
                !self.answers.says_gone(),
                "no answer means gone: a job that vanishes is read for ever",
            ),
            (!priced, "no prices: jobs have no cost"),
            (
                is_partial,
                "covers: unknown or active: a submission that the list does not show is never \
                 proven lost, so an administrator must resolve it",
            ),
            (
                self.validate.is_none() && self.list.is_none(),
                "no validate and no list: nothing shows whether the credential is accepted",
            ),
        ];
        hints.into_iter().filter(|(there, _)| *there).map(|(_, hint)| hint.to_owned()).collect()
    }
}

impl Cancel {
    fn read<'v>(
        place: &Place<'v>,
        faults: &mut Faults,
        vars: &'v Map<String, Value>,
    ) -> Option<Self> {
        let mut section = place.section(faults)?;
        let call = Call::from(&mut section, &Scope::new(JOB, vars));
        let answers_job = section.read("answers_job", Place::boolean);
        section.finish();
        Some(Self { call: call?, answers_job: answers_job.unwrap_or(true) })
    }
}

impl Sweep {
    fn read<'v>(
        place: &Place<'v>,
        faults: &mut Faults,
        vars: &'v Map<String, Value>,
    ) -> Option<Self> {
        let mut section = place.section(faults)?;
        let call = Call::from(&mut section, &Scope::new(JOB, vars));
        let after = section.require("after", |place, faults| place.parsed(faults, units::duration));
        section.finish();
        Some(Self { call: call?, after: after? })
    }
}

impl Validate {
    fn read<'v>(
        place: &Place<'v>,
        faults: &mut Faults,
        vars: &'v Map<String, Value>,
    ) -> Option<Self> {
        let mut section = place.section(faults)?;
        let call = Call::from(&mut section, &Scope::new(ACCOUNT, vars));
        let account = section.read("account", Pointer::read);
        if call.as_ref().is_some_and(|call| !call.is_reading()) {
            section.fault_here("must be a get, or say reads: true");
        }
        section.finish();
        Some(Self { call: call?, account })
    }
}

impl Limits {
    fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let mut rate = |key| section.read(key, |place, faults| place.parsed(faults, units::rate));
        let (submit, status, list) = (rate("submit"), rate("status"), rate("list"));
        let (cancel, logs) = (rate("cancel"), rate("logs"));
        let in_flight = section.read("in_flight", |place, faults| {
            let number = place.value.as_u64().filter(|it| (1..=MOST_IN_FLIGHT).contains(it));
            let number = number.and_then(|number| usize::try_from(number).ok());
            let expected = format!("a whole number from 1 to {MOST_IN_FLIGHT}");
            number.or_else(|| place.expected(faults, &expected))
        });
        let body = section.read("body", |place, faults| place.parsed(faults, units::parse_size));
        let keeps = section.read("keeps", |place, faults| place.parsed(faults, units::duration));
        section.finish();
        Some(Self { submit, status, list, cancel, logs, in_flight, body, keeps })
    }
}

fn base(section: &mut Section<'_, '_>) -> Option<BaseUrl> {
    let insecure =
        section.read("insecure", |place, faults| place.word(faults, &[("accepted", ())]));
    section.require("base_url", |place, faults| {
        // It may hold a password, so it is not repeated.
        let base = match BaseUrl::parse(place.text(faults)?) {
            Ok(base) => base,
            Err(legal) => return place.fault(faults, format!("is not legal, {legal}")),
        };
        if base.is_clear && !base.is_loopback && insecure.is_none() {
            let message = "must be https, or the description says insecure: accepted";
            return place.fault(faults, message);
        }
        Some(base)
    })
}

fn once(section: &mut Section<'_, '_>, vars: &Map<String, Value>) -> Option<Once> {
    let Some(place) = section.get("at_most_once") else {
        section.fault(
            "at_most_once",
            "is required: {how: key}, {how: name}, {how: hold} or {how: marker}; where the \
             provider offers none of them, {how: at_least_once, accepted: <why>}",
        );
        return None;
    };
    Once::read(&place, section.faults, vars)
}

fn check_vars(section: &mut Section<'_, '_>) {
    for (name, place) in section.members("vars") {
        let legal = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        if name.is_empty() || !name.chars().all(legal) {
            let message = "the name of a variable has A-Z a-z 0-9 _ -";
            place.fault::<()>(section.faults, message);
        }
    }
}

/// What the provider calls our hardware.
fn hardware(section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    let mut hardware = BTreeMap::new();
    for (name, place) in section.members("hardware") {
        match scalar(place.value) {
            Some(sku) => drop(hardware.insert(name.to_owned(), sku)),
            None => drop(place.expected::<()>(section.faults, "the provider's name for it")),
        }
    }
    hardware
}

fn prices(section: &mut Section<'_, '_>) -> Prices {
    let members = section.members("prices").into_iter();
    let read = |(name, place): (&str, Place<'_>)| {
        Some((name.to_owned(), Price::read(&place, section.faults)?))
    };
    members.filter_map(read).collect()
}
