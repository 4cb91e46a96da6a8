//! Every operation by every role: who is let in, whatever it names exists or not.

use reqwest::Method;
use st_api::operation::{Access, Described, Media};

use super::*;
use crate::api::routes;

/// A path on which nothing exists, for the parameter of an operation.
fn path_of(operation: &Described) -> String {
    let path = operation.about.path;
    match operation.parameter {
        Some(parameter) => {
            let nothing = if parameter.numeric { "999999" } else { "nothing-here" };
            path.replace(&format!("{{{}}}", parameter.name), nothing)
        }
        None => path.to_owned(),
    }
}

#[tokio::test]
async fn each_operation_lets_in_its_role_and_those_above_and_nobody_else() {
    let api = Harness::start().await;
    let key = async |admin: Option<&str>, role: Role| {
        let body = json!({"name": role.as_str(), "user": role.as_str(), "role": role.as_str()});
        let mut request = api.client.post(format!("{}/api/keys", api.url)).json(&body);
        if let Some(admin) = admin {
            request = request.bearer_auth(admin);
        }
        let (status, made) = Harness::answer(request).await;
        assert_eq!(status, 200, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    };
    let admin = key(None, Role::Admin).await;
    let mut keys = Vec::new();
    for &role in Role::ALL.iter().filter(|role| **role < Role::Admin) {
        keys.push((role, key(Some(&admin), role).await));
    }
    keys.push((Role::Admin, admin));

    for operation in routes().operations() {
        let about = operation.about;
        // One of them ends the server, one the session that it is asked with, and streams go on.
        let is_apart = ["shut_down", "sign_out", "list_events"].contains(&about.id);
        if is_apart || about.media == Media::EventStream {
            continue;
        }
        let ask = async |key: Option<&str>| {
            let method = Method::from_bytes(about.method.as_str().as_bytes()).unwrap();
            // Nothing is changed: the body of those that have one is not valid.
            let mut request =
                api.client.request(method, format!("{}{}", api.url, path_of(operation)));
            if operation.has_body() {
                request = request.json(&json!({"no such field": 1}));
            }
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            request.send().await.unwrap().status().as_u16()
        };
        let stranger = ask(None).await;
        match about.access {
            Access::Public => assert_ne!(stranger, 401, "{}", about.id),
            Access::SignedIn | Access::Role(_) => assert_eq!(stranger, 401, "{}", about.id),
        }
        for (role, key) in &keys {
            let admitted = match about.access {
                Access::Public | Access::SignedIn => true,
                Access::Role(least) => *role >= least,
            };
            let status = ask(Some(key)).await;
            assert_eq!(
                status != 403 && status != 401,
                admitted,
                "{} as {role}: {status}",
                about.id
            );
        }
    }
}
