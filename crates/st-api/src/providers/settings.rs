//! The settings of a provider as a request changes them.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};
use st_store::{
    Cost, InputProblem, InvalidInput, LONGEST_HTTP_TIMEOUT, MOST_PROVIDER_SLOTS,
    MOST_RUNTIME_MINUTES, OutputsSetting, ProviderSettingsPatch, SHORTEST_HTTP_TIMEOUT,
    SettingChange, check_submitted_input,
};

use crate::input::{Fields, quoted};
use crate::operation::Input;

/// The longest text of a setting, in bytes.
pub const MAX_TEXT: usize = 2000;
/// The largest object of a setting, in bytes of JSON.
const MAX_OBJECT: usize = 64 * 1024;
/// The most networks of a list.
const MAX_NETWORKS: usize = 1000;
/// The largest amount, in US dollars.
const MAX_USD: f64 = 1e9;

/// Settings of a provider to change; the others stay. `null` and an empty text clear one.
#[derive(Debug, Clone, PartialEq)]
pub struct SetProviderConfig(pub ProviderSettingsPatch);

impl Input for SetProviderConfig {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(ProviderSettingsPatch {
            webhook_url: change(fields, "webhook_url", text),
            webhook_require_signature: boolean(fields, "webhook_require_signature"),
            webhook_allowed_ips: change(fields, "webhook_allowed_ips", networks),
            cost_limit_enabled: boolean(fields, "cost_limit_enabled"),
            cost_limit_amount: change(fields, "cost_limit_amount", |fields, name| {
                fields.number(name, 0.0..=MAX_USD).map(Cost::from_usd)
            }),
            cost_limit_period: change(fields, "cost_limit_period", Fields::choice),
            cost_limit_action: change(fields, "cost_limit_action", Fields::choice),
            hardware_info: change(fields, "hardware_info", object),
            hardware_profile: change(fields, "hardware_profile", text),
            version_override: change(fields, "version_override", text),
            ssl_verify: boolean(fields, "ssl_verify"),
            ssl_ca_bundle: change(fields, "ssl_ca_bundle", path),
            proxy_url: change(fields, "proxy_url", text),
            http_timeout: change(fields, "http_timeout", timeout),
            max_runtime_minutes: number(fields, "max_runtime_minutes", MOST_RUNTIME_MINUTES),
            max_concurrent: number(fields, "max_concurrent", MOST_PROVIDER_SLOTS),
            outputs: change(fields, "outputs", outputs),
            preferences: change(fields, "preferences", object),
        }))
    }
}

/// A change of one setting, whose value is read by `read`.
fn change<T>(
    fields: &mut Fields,
    name: &str,
    read: impl FnOnce(&mut Fields, &str) -> Option<T>,
) -> SettingChange<T> {
    if fields.is_null(name) || fields.is_empty_text(name) {
        return SettingChange::Clear;
    }
    read(fields, name).map_or(SettingChange::Keep, SettingChange::Set)
}

fn text(fields: &mut Fields, name: &str) -> Option<String> {
    fields.optional_string(name, MAX_TEXT)
}

fn boolean(fields: &mut Fields, name: &str) -> SettingChange<bool> {
    change(fields, name, Fields::boolean)
}

/// A number from 1 to `most`.
fn number(fields: &mut Fields, name: &str, most: u32) -> SettingChange<u32> {
    change(fields, name, |fields, name| {
        let number = fields.integer(name, 1..=i64::from(most));
        number.and_then(|number| u32::try_from(number).ok())
    })
}

fn timeout(fields: &mut Fields, name: &str) -> Option<Duration> {
    let range = SHORTEST_HTTP_TIMEOUT.as_secs_f64()..=LONGEST_HTTP_TIMEOUT.as_secs_f64();
    let seconds = fields.number(name, range)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The path of a file or folder of the server, which does not depend on where it was started.
fn path(fields: &mut Fields, name: &str) -> Option<String> {
    let path = text(fields, name)?;
    if Path::new(&path).is_absolute() {
        return Some(path);
    }
    fields.fault(name, format!("expected an absolute path, found {}", quoted(&path)));
    None
}

fn object(fields: &mut Fields, name: &str) -> Option<Map<String, Value>> {
    let object = fields.object(name)?;
    let value = Value::Object(object.clone());
    // U+0000 is reported for each place already.
    if let Err(InvalidInput { pointer, problem }) = check_submitted_input(&value)
        && problem != InputProblem::Nul
    {
        fields.faults_in(name, [(pointer, problem.to_string())]);
        return None;
    }
    let bytes = value.to_string().len();
    if bytes > MAX_OBJECT {
        fields.fault(name, format!("has {bytes} bytes, {MAX_OBJECT} are legal"));
        return None;
    }
    Some(object)
}

/// Networks and single addresses.
fn networks(fields: &mut Fields, name: &str) -> Option<Vec<IpNet>> {
    let texts = fields.strings(name)?;
    if texts.len() > MAX_NETWORKS {
        fields.fault(name, format!("has {} networks, {MAX_NETWORKS} are legal", texts.len()));
        return None;
    }
    let mut networks = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let network = text.parse().or_else(|_no_network| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) => networks.push(network),
            Err(_no_address) => {
                let legal = "expected an address or a network such as 10.0.0.0/8 or fd00::/8";
                fields.fault(name, format!("item {index}: {legal}, found {}", quoted(text)));
            }
        }
    }
    (networks.len() == texts.len()).then_some(networks)
}

fn outputs(fields: &mut Fields, name: &str) -> Option<OutputsSetting> {
    fields.section(name, |fields| OutputsSetting {
        download: fields.boolean("download"),
        dir: path(fields, "dir"),
        max_bytes: fields
            .integer("max_bytes", 1..=i64::MAX)
            .and_then(|bytes| u64::try_from(bytes).ok()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::input::FieldFault;

    fn read(body: &Value) -> Result<ProviderSettingsPatch, Vec<FieldFault>> {
        let fields = Fields::new(body.as_object().unwrap().clone());
        SetProviderConfig::from_fields(fields).map(|SetProviderConfig(patch)| patch)
    }

    #[test]
    fn an_object_that_would_be_read_as_another_is_refused_where_it_is() {
        for (text, fault) in [
            (r#"{"preferences": {"a": [1, 1e400]}}"#, ("/preferences/a/1", "about 1.8e308")),
            (r#"{"hardware_info": {"h": {"n": -1e309}}}"#, ("/hardware_info/h/n", "about 1.8e308")),
            (r#"{"preferences": {"a": "\u0000"}}"#, ("/preferences/a", "U+0000")),
        ] {
            let faults = read(&crate::input::parse_json(text.as_bytes()).unwrap()).unwrap_err();
            let [one] = faults.as_slice() else { panic!("{faults:?}") };
            assert!(one.pointer == fault.0 && one.message.ends_with(fault.1), "{one:?}");
        }
    }

    #[test]
    fn each_setting_is_set_by_its_own_name_and_type() {
        let body = json!({
            "webhook_url": "https://a.example/x", "webhook_require_signature": false,
            "webhook_allowed_ips": ["10.0.0.0/8", "2001:db8::7"], "cost_limit_enabled": true,
            "cost_limit_amount": 50, "cost_limit_period": "weekly",
            "cost_limit_action": "require_approval", "hardware_info": {"a": {"name": "A"}},
            "hardware_profile": "h100", "version_override": "o/m", "ssl_verify": false,
            "ssl_ca_bundle": "/etc/ca.pem", "proxy_url": "http://proxy.example:3128",
            "http_timeout": 2.5, "max_runtime_minutes": 90, "max_concurrent": 12,
            "outputs": {"download": true, "dir": "/data", "max_bytes": 5}, "preferences": {"b": 1},
        });
        let mut settings = st_store::ProviderSettings::default();
        settings.apply(read(&body).unwrap());
        for (name, value) in settings.values() {
            let given = &body[name];
            let value = value.unwrap_or_default();
            let same = value == *given || value.as_f64() == given.as_f64() && value.is_number();
            assert!(same, "{name}: {value}");
        }
        assert_eq!(settings.values().count(), body.as_object().unwrap().len());
    }

    #[test]
    fn null_and_an_empty_text_clear_and_what_is_not_named_stays() {
        for name in st_store::ProviderSettings::NAMES {
            for cleared in [json!(null), json!("")] {
                let patch = read(&json!({ *name: cleared })).unwrap();
                let printed = format!("{patch:?}");
                assert_eq!(printed.matches("Clear").count(), 1, "{name}: {printed}");
                assert!(printed.contains(&format!("{name}: Clear")), "{printed}");
                assert!(!printed.contains("Set("), "{printed}");
            }
        }
        assert_eq!(read(&json!({})).unwrap(), ProviderSettingsPatch::default());
    }

    #[test]
    fn what_is_not_legal_is_refused_with_its_place() {
        let long = "x".repeat(MAX_TEXT + 1);
        let large = json!({"a": "x".repeat(MAX_OBJECT)});
        for (body, pointer, said) in [
            (json!({"hardware_profile": long}), "/hardware_profile", "is longer than 2000 bytes"),
            (json!({"version_override": 7}), "/version_override", "expected text"),
            (json!({"max_concurrent": 0}), "/max_concurrent", "from 1 to 100000"),
            (json!({"max_runtime_minutes": 43_201}), "/max_runtime_minutes", "from 1 to 43200"),
            (json!({"ssl_verify": "true"}), "/ssl_verify", "expected true or false"),
            (json!({"http_timeout": 61}), "/http_timeout", "from 0.1 to 60"),
            (json!({"cost_limit_amount": -1}), "/cost_limit_amount", "from 0 to"),
            (json!({"cost_limit_period": "yearly"}), "/cost_limit_period", "daily, weekly"),
            (json!({"cost_limit_action": "notify"}), "/cost_limit_action", "require_approval"),
            (json!({"ssl_ca_bundle": "ca.pem"}), "/ssl_ca_bundle", "an absolute path"),
            (json!({"outputs": {"dir": "x"}}), "/outputs/dir", "an absolute path"),
            (json!({"outputs": {"max_bytes": 0}}), "/outputs/max_bytes", "from 1"),
            (json!({"outputs": {"bytes": 1}}), "/outputs/bytes", "unknown field"),
            (json!({"webhook_allowed_ips": ["a"]}), "/webhook_allowed_ips", "item 0: expected"),
            (json!({"preferences": large}), "/preferences", "65536 are legal"),
            (json!({"hardware_info": []}), "/hardware_info", "an object"),
            (json!({"webhook": "x"}), "/webhook", "unknown field"),
        ] {
            let faults = read(&body).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].pointer, pointer);
            assert!(faults[0].message.contains(said), "{}", faults[0].message);
        }
    }
}
