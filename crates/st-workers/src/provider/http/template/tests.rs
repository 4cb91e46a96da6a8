//! What templates make of values, and how faults in them are named.

use jiff::Timestamp;
use serde_json::json;
use st_store::{JobId, Marker};

use super::*;
use crate::provider::http::values::SUBMIT;

fn vars() -> Map<String, Value> {
    json!({"ns": "training", "deep": {"a": [1, 2]}}).as_object().unwrap().clone()
}

fn tree(value: &Value) -> Result<Tree, Vec<String>> {
    let vars = vars();
    let mut faults = Faults::default();
    let place = Place { value, pointer: "/body".to_owned() };
    let tree = Tree::read(&place, &mut faults, &Scope::new(SUBMIT, &vars));
    let said = |fault: super::super::section::DescriptionFault| {
        format!("{}: {}", fault.pointer, fault.message)
    };
    if faults.0.is_empty() {
        Ok(tree.unwrap())
    } else {
        Err(faults.0.into_iter().map(said).collect())
    }
}

fn render(body: &Value, input: &Value) -> Result<Option<Value>, RenderError> {
    let vars = vars();
    let marker = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [7; 10]), attempt: 1 };
    tree(body).unwrap().value(&Values::of_attempt(&vars, marker).with_input(input))
}

#[test]
fn a_whole_reference_keeps_its_type_and_one_in_a_text_is_text() {
    let input = json!({"config": {"lr": 1.50, "steps": 7, "on": true, "tags": ["a"]}});
    let body = json!({
        "all": "{{ input.config }}", "steps": "{{input.config.steps}}", "on": "{{ input.config.on }}",
        "tag": "{{ input.config.tags.0 }}", "text": "lr {{ input.config.lr }} of {{ vars.ns }}",
        "json": "{{ input.config.tags | json }}", "literal": 5, "two": "{{ vars.deep.a.1 }}",
    });
    let expected = json!({
        "all": {"lr": 1.50, "steps": 7, "on": true, "tags": ["a"]}, "steps": 7, "on": true,
        "tag": "a", "text": "lr 1.5 of training", "json": "[\"a\"]", "literal": 5, "two": 2,
    });
    assert_eq!(render(&body, &input), Ok(Some(expected)));
}

#[test]
fn what_may_be_absent_leaves_no_trace_and_what_may_not_is_named() {
    let input = json!({"config": {"a": null}});
    let body = json!({
        "x": "{{ input.config.a? }}", "y": "v {{ input.no? }}", "z": ["{{ input.no? }}", 1],
    });
    assert_eq!(render(&body, &input), Ok(Some(json!({"z": [1]}))));
    assert_eq!(render(&json!("{{ input.no? }}"), &input), Ok(None));
    let missing = render(&json!({"x": "{{ input.config.a }}"}), &input).unwrap_err();
    assert_eq!(missing.to_string(), "input.config.a is required");
    let no_text = render(&json!("x {{ input.config }}"), &input).unwrap_err();
    assert_eq!(no_text.to_string(), "input.config must be text or a number, found an object");
}

#[test]
fn what_a_value_holds_is_never_a_template() {
    let input = json!({"config": "{{ vars.ns }}", "more": {"k": "{{ marker.text }} ${HOME}"}});
    let body =
        json!({"a": "{{ input.config }}", "b": "x{{ input.config }}", "c": "{{ input.more }}"});
    let expected = json!({
        "a": "{{ vars.ns }}", "b": "x{{ vars.ns }}", "c": {"k": "{{ marker.text }} ${HOME}"}
    });
    assert_eq!(render(&body, &input), Ok(Some(expected)));
}

#[test]
fn faults_name_the_place_and_what_is_legal() {
    for (body, said) in [
        (json!({"a": ["{{ input.x"]}), "/body/a/0: a {{ is not closed with }}"),
        (json!({"a": "x }}"}), "/body/a: a }} has no {{ before it"),
        (
            json!("{{ marker.txt }}"),
            "/body: there is no marker.txt here, did you mean marker.text?",
        ),
        (json!("{{ vars.nss }}"), "/body: there is no vars.nss, the vars are deep, ns"),
        (json!("{{ env.HOME }}"), "/body: there is no env.HOME here, expected one of job.id"),
        (json!("{{ input.a + 1 }}"), "/body: {{ input.a + 1 }} is no reference"),
        (json!("{{ input.a | upper }}"), "/body: there is no filter \"upper\""),
        (json!({"{{ x }}": 1}), "/body/{{ x }}: a key may be no template"),
    ] {
        let faults = tree(&body).unwrap_err();
        assert!(faults[0].starts_with(said), "{faults:?} and not {said}");
    }
}
