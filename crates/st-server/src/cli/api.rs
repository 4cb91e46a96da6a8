//! The HTTP interface for people and programs that read it.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::print_out;
use crate::api::{openapi, reference};

#[derive(Debug, Args)]
pub(super) struct Api {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the OpenAPI 3.1 document, as the server answers it at /api/openapi.json
    Openapi,
    /// Print the reference, in Markdown
    Reference,
}

impl Api {
    pub(super) fn run(self) -> ExitCode {
        match self.command {
            Command::Openapi => print_out(&format!("{:#}\n", openapi())),
            Command::Reference => print_out(&reference()),
        }
    }
}
