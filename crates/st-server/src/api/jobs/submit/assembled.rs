//! The input of a job, put together from a request and the files that it names.

use serde_json::{Map, Value};
use st_api::jobs::SubmitJob;
use st_store::{InputProblem, InvalidInput, check_submitted_input};

use super::named;
use crate::api::Api;
use crate::http::problem::Problem;

/// The field with the data sets.
const DATASETS: &str = "dataloader_config";
/// The field that names a configuration.
pub(super) const NAMED: &str = "/config_name_to_load";

/// What a provider gets, and what it is called.
#[derive(Debug)]
pub(in crate::api) struct Assembled {
    pub(in crate::api) input: Value,
    pub(in crate::api) config_name: Option<String>,
    pub(in crate::api) origin: Origin,
}

impl Assembled {
    /// Takes the contents out of the request. Refuses what could not be stored.
    pub(in crate::api) async fn of(api: &Api, request: &mut SubmitJob) -> Result<Self, Problem> {
        let mut input = Map::new();
        if let Some(datasets) = request.dataloader_config.take() {
            input.insert(DATASETS.to_owned(), Value::Array(datasets));
        }
        if let Some(url) = request.webhook_url.take() {
            input.insert("webhook_url".to_owned(), url.into());
        }
        let mut origin = Origin::Request;
        let config = match (request.config.take(), &request.config_name_to_load) {
            (Some(config), _) => config,
            (None, Some(name)) => {
                let datasets = !input.contains_key(DATASETS);
                let named = named::load(api.config_dir(), name, datasets).await?;
                origin = Origin::File { with_datasets: named.dataloader.is_some() };
                if let Some(dataloader) = named.dataloader {
                    input.insert(DATASETS.to_owned(), Value::Array(dataloader));
                }
                named.config
            }
            (None, None) => Map::new(),
        };
        let file = request.config_name_to_load.as_deref().map(named::stem);
        let config_name = request.config_name.take().or_else(|| file.map(str::to_owned));
        // Commands on this machine get them too.
        input.extend(request.metadata.clone());
        input.insert("config".to_owned(), Value::Object(config));
        if let Some(name) = &config_name {
            input.insert("config_name".to_owned(), name.as_str().into());
        }
        let input = Value::Object(input);
        check_submitted_input(&input).map_err(|invalid| unfit(&invalid, origin))?;
        Ok(Self { input, config_name, origin })
    }
}

/// Where the configuration and the data sets of a job come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Origin {
    /// Both were in the request.
    Request,
    /// The request named a file.
    File {
        /// The data sets are in a file beside it.
        with_datasets: bool,
    },
}

impl Origin {
    /// The field of the request that the configuration came from.
    pub(in crate::api) fn field_of_config(self) -> &'static str {
        match self {
            Self::Request => "/config",
            Self::File { .. } => NAMED,
        }
    }

    /// The file that has a member of the input, where the request only named it.
    fn file_of(self, member: &str) -> Option<&'static str> {
        match (self, member) {
            (Self::File { .. }, "config") => Some("the file"),
            (Self::File { with_datasets: true }, DATASETS) => Some(named::DATASETS),
            (Self::Request | Self::File { .. }, _) => None,
        }
    }
}

/// Says of an input that cannot be stored which field of the request to change.
fn unfit(invalid: &InvalidInput, origin: Origin) -> Problem {
    let InvalidInput { pointer, problem } = invalid;
    let mut parts = pointer.splitn(3, '/').skip(1);
    let member = parts.next().unwrap_or("config");
    let below = parts.next().map_or_else(String::new, |below| format!("/{below}"));
    let file = origin.file_of(member);
    match problem {
        // The path through that many levels would be longer than the rest of the answer.
        InputProblem::TooDeep | InputProblem::TooLarge { .. } => {
            let message = format!("{problem}, counted with what is stored with it");
            match file {
                Some(file) => Problem::invalid_field(NAMED, format!("{file}: {message}")),
                None => Problem::invalid_field(&format!("/{member}"), message),
            }
        }
        InputProblem::Nul | InputProblem::Reserved | InputProblem::NumberTooLarge => match file {
            Some(file) => Problem::invalid_field(NAMED, format!("{file}: {below:?} {problem}")),
            None => Problem::invalid_field(pointer, problem.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_is_said_of_the_field_that_it_came_with() {
        let said = |pointer: &str, problem, origin| {
            format!("{:?}", unfit(&InvalidInput { pointer: pointer.to_owned(), problem }, origin))
        };
        let too_large = InputProblem::TooLarge { bytes: 5_000_000 };
        let request = Origin::Request;
        let [alone, both] = [false, true].map(|with_datasets| Origin::File { with_datasets });
        for (pointer, problem, origin, field, message) in [
            ("", too_large, request, "/config", "5000000 bytes"),
            ("", too_large, alone, NAMED, "5000000 bytes"),
            ("/config/a", InputProblem::TooDeep, alone, NAMED, "100 levels"),
            ("/dataloader_config/0", InputProblem::TooDeep, alone, "/dataloader_config", "levels"),
            ("/dataloader_config/0", InputProblem::TooDeep, both, NAMED, "multidatabackend.json: "),
            ("/dataloader_config/0/a", InputProblem::Nul, both, NAMED, "multidatabackend.json: "),
            ("/dataloader_config/0/a", InputProblem::Nul, both, NAMED, "/0/a"),
            ("/dataloader_config/0", InputProblem::Nul, alone, "/dataloader_config/0", "U+0000"),
            ("/config/a", InputProblem::Nul, alone, NAMED, "/a"),
            ("/config/a", InputProblem::Nul, request, "/config/a", "U+0000"),
            ("/config/a", InputProblem::NumberTooLarge, request, "/config/a", "1.8e308"),
            ("/config/a", InputProblem::NumberTooLarge, alone, NAMED, "/a"),
            ("/config_name", InputProblem::Nul, both, "/config_name", "U+0000"),
        ] {
            let said = said(pointer, problem, origin);
            assert!(said.contains(&format!("pointer: Some({field:?})")), "{pointer}: {said}");
            assert!(said.contains(message), "{pointer}: {said}");
        }
    }
}
