//! Every setting, once: where it is in the file, which variables and which flag set it, what it is
//! when nothing does, and what it means. What is legal is decided where it is read; a test compares
//! the two, so that neither has a setting that the other lacks.

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its place in the file, with dots; `*` is any name.
    pub(super) path: &'static str,
    /// The variables that set it; the first that is not empty counts.
    pub(super) variables: &'static [&'static str],
    /// The flag of `serve` that sets it.
    pub(super) flag: Option<&'static str>,
    /// What it is when nothing sets it, for people.
    pub(super) default: &'static str,
    /// For people.
    pub(super) meaning: &'static str,
    /// Whether its value is shown to nobody. Such a variable has a form with `_FILE`.
    pub(super) secret: bool,
    /// Whether SIGHUP is enough for a change to take effect.
    pub(super) reloaded: bool,
}

impl Setting {
    const fn new(path: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { path, variables: &[], flag: None, default, meaning, secret: false, reloaded: false }
    }

    const fn variables(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn reloaded(self) -> Self {
        Self { reloaded: true, ..self }
    }

    /// Whether it is what a value of the file sets, which has this JSON pointer.
    pub(super) fn covers(&self, pointer: &str) -> bool {
        let mut names = pointer.split('/').skip(1);
        self.path.split('.').all(|part| names.next().is_some_and(|it| part == "*" || part == it))
    }

    /// The JSON pointer of its place in the file.
    pub(super) fn pointer(&self) -> String {
        format!("/{}", self.path.replace('.', "/"))
    }
}

/// Which file is read.
pub(super) const FILE_VARIABLE: &str = "SIMPLETUNER_ENTERPRISE_CONFIG";
/// Without colours, by the convention of <https://no-color.org>.
pub(super) const NO_COLOR: &str = "NO_COLOR";

/// Lists that may also be one text with commas in it, as they are in a variable.
pub(super) const COMMAS: [&str; 2] = ["server.hosts", "server.trusted_proxies"];

/// All of them, by section.
pub(super) const TABLE: &[Setting] = &[
    Setting::new(
        "server.host",
        "127.0.0.1",
        "the address to listen on; elsewhere than on loopback a key must exist first",
    )
    .variables(&["SIMPLETUNER_HOST"])
    .flag("--host"),
    Setting::new("server.port", "8001", "the port to listen on")
        .variables(&["SIMPLETUNER_PORT"])
        .flag("--port"),
    Setting::new(
        "server.state_dir",
        "~/.simpletuner",
        "the folder of the database and of all else that is written",
    )
    .variables(&["SIMPLETUNER_STATE_DIR"]),
    Setting::new(
        "server.config_dir",
        "configs in the state directory",
        "where `config_name_to_load` is looked up",
    )
    .variables(&["SIMPLETUNER_CONFIG_DIR"]),
    Setting::new(
        "server.hosts",
        "none",
        "names by which clients reach the server, besides localhost and its addresses",
    )
    .variables(&["SIMPLETUNER_HOSTS"])
    .reloaded(),
    Setting::new(
        "server.trusted_proxies",
        "none",
        "networks of proxies whose `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded` are believed",
    )
    .variables(&["SIMPLETUNER_TRUSTED_PROXIES"])
    .reloaded(),
    Setting::new(
        "server.connections_per_address",
        "256",
        "how many connections one address may have; loopback and trusted proxies have no limit of their own",
    )
    .reloaded(),
    Setting::new(
        "server.tls.cert",
        "none",
        "the certificate, in PEM, with those that lead to an authority; with it the server speaks https",
    )
    .variables(&["SIMPLETUNER_TLS_CERT"])
    .reloaded(),
    Setting::new("server.tls.key", "none", "its private key, in PEM")
        .variables(&["SIMPLETUNER_TLS_KEY"])
        .reloaded(),
    Setting::new(
        "logging.level",
        "INFO",
        "`DEBUG` to `CRITICAL`, also for single loggers: `INFO,simpletuner.cloud.queue=DEBUG`",
    )
    .variables(&["SIMPLETUNER_LOG_LEVEL"])
    .reloaded(),
    Setting::new("logging.format", "json", "`json` or `text`")
        .variables(&["SIMPLETUNER_LOG_FORMAT"]),
    Setting::new("logging.file", "none", "a file beside stdout; SIGHUP reopens it")
        .variables(&["SIMPLETUNER_LOG_FILE"]),
    Setting::new(
        "logging.trace_context",
        "false",
        "whether a caller's W3C trace context is kept and passed on",
    ),
    Setting::new("logging.include_stack_info", "false", "whether errors have a backtrace"),
    Setting::new("logging.redact", "none", "names of further fields whose values are secret"),
    Setting::new(
        "background.job_status_polling.enabled",
        "false",
        "poll also where a webhook URL is set",
    )
    .reloaded(),
    Setting::new(
        "background.job_status_polling.interval_seconds",
        "30",
        "from one poll to the next",
    )
    .variables(&["SIMPLETUNER_JOB_POLL_INTERVAL"])
    .reloaded(),
    Setting::new("background.queue_processing.enabled", "true", "the queue cannot be disabled"),
    Setting::new("background.queue_processing.interval_seconds", "5", "the interval is fixed"),
    Setting::new(
        "background.approval_expiration.interval_seconds",
        "300",
        "how often lapsed approvals are looked for at least",
    )
    .variables(&["SIMPLETUNER_APPROVAL_CHECK_INTERVAL"]),
    Setting::new(
        "background.job_retention.days",
        "90",
        "how long finished jobs are kept; 0 keeps them indefinitely",
    )
    .variables(&["SIMPLETUNER_JOB_RETENTION_DAYS"]),
    Setting::new("http.timeout_seconds", "60", "how long one call to a provider may take")
        .variables(&["SIMPLETUNER_HTTP_TIMEOUT"]),
    Setting::new("http.ssl_verify", "true", "whether the certificates of providers are checked")
        .variables(&["SIMPLETUNER_SSL_VERIFY"]),
    Setting::new(
        "http.ca_bundle",
        "none",
        "a file with authorities that are trusted beside those of the system",
    )
    .variables(&["SIMPLETUNER_CA_BUNDLE"]),
    Setting::new(
        "http.https_proxy",
        "none",
        "the proxy on the way to https addresses, with credentials or without",
    )
    .variables(&["HTTPS_PROXY", "https_proxy"])
    .secret(),
    Setting::new("http.http_proxy", "none", "the proxy on the way to http addresses")
        .variables(&["HTTP_PROXY", "http_proxy"])
        .secret(),
    Setting::new(
        "http.no_proxy",
        "none",
        "hosts, domains and networks that are reached without a proxy",
    )
    .variables(&["NO_PROXY", "no_proxy"]),
    Setting::new(
        "outputs.download",
        "false",
        "whether the outputs of jobs are downloaded before their provider deletes them",
    ),
    Setting::new(
        "outputs.dir",
        "outputs in the state directory",
        "where each job gets a folder for them",
    ),
    Setting::new(
        "outputs.max_bytes",
        "50GiB",
        "how much all outputs of a job may have together: bytes, or a size such as 500MiB",
    ),
    Setting::new(
        "outputs.allowed_networks",
        "none",
        "networks that are not public and from which outputs may come",
    ),
    Setting::new(
        "webhooks.allowed_networks",
        "none",
        "networks that are not public and to which webhooks may be sent",
    ),
    Setting::new(
        "providers.replicate.api_token",
        "none",
        "the account at Replicate; without it the provider is not there",
    )
    .variables(&["REPLICATE_API_TOKEN"])
    .secret(),
    Setting::new(
        "providers.replicate.api_base_url",
        "https://api.replicate.com/v1",
        "the address of its API",
    )
    .variables(&["REPLICATE_API_BASE_URL"]),
    Setting::new(
        "providers.replicate.webhook_secret",
        "that of the account, asked for",
        "the secret of its webhooks; several with spaces between them while one is replaced",
    )
    .variables(&["REPLICATE_WEBHOOK_SECRET"])
    .secret(),
    Setting::new(
        "providers.replicate.calls_per_minute.submissions",
        "600",
        "how many submissions the account may make",
    ),
    Setting::new(
        "providers.replicate.calls_per_minute.others",
        "3000",
        "how many other calls the account may make",
    ),
    Setting::new(
        "providers.replicate.prices.*",
        "as published",
        "US dollars for a second, by profile or `owner/model`",
    ),
    Setting::new(
        "providers.replicate.retry_on",
        "none",
        "which of the jobs that the provider ended by itself run once more: `aborted`, `preempted`",
    ),
    Setting::new(
        "providers.local.commands.*.program",
        "required",
        "the program of a command that jobs may name, by its absolute path",
    ),
    Setting::new(
        "providers.local.commands.*.args",
        "none",
        "its arguments; nothing of a request is added",
    ),
    Setting::new("providers.local.commands.*.env.*", "none", "variables that it gets"),
    Setting::new(
        "providers.local.commands.*.devices",
        "1, or 0 without cards",
        "how many graphics cards it gets, at most as many as `providers.local.devices` has",
    ),
    Setting::new(
        "providers.local.pass_env",
        "none",
        "the server's variables that jobs get beside the usual ones; `HF_*` is all that begin so",
    ),
    Setting::new(
        "providers.local.devices",
        "none",
        "the graphics cards that are shared out among jobs",
    ),
    Setting::new("providers.local.limits.memory_mib", "none", "the address space of each process"),
    Setting::new(
        "providers.local.limits.open_files",
        "none",
        "how many files each process may have open",
    ),
    Setting::new("providers.local.limits.nice", "unchanged", "the nice value, 0 to 19"),
    Setting::new(
        "providers.local.log_mib",
        "8",
        "the size of each of the two files that keep what a job prints",
    ),
];

/// Every variable that is read, also in the forms with `_FILE`.
pub(super) fn variables() -> impl Iterator<Item = String> {
    let of = |setting: &Setting| {
        let with_file = setting.secret && is_named_by_us(setting);
        let forms = setting.variables.iter().flat_map(move |name| {
            let file = with_file.then(|| format!("{name}_FILE"));
            std::iter::once((*name).to_owned()).chain(file)
        });
        forms.collect::<Vec<_>>()
    };
    TABLE.iter().flat_map(of).chain([FILE_VARIABLE.to_owned()])
}

/// Whether the variable is ours and not one by which every program finds its proxies.
pub(super) fn is_named_by_us(setting: &Setting) -> bool {
    !setting.path.ends_with("_proxy")
}
