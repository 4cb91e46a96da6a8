//! As much of Prometheus's query language as it takes to find what an expression names.

#![expect(clippy::string_slice, reason = "the places are those of characters that were found")]

/// What selects series.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) name: String,
    /// The labels that it is restricted by.
    pub(super) labels: Vec<Matcher>,
}

/// How a selector restricts a label.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    /// The values that it names.
    pub(super) values: Vec<String>,
}

/// Words after which labels stand in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that name no metric and are followed by no parenthesis.
const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];

/// The selectors of an expression, and the labels by which it groups.
pub(super) fn read(expression: &str) -> (Vec<Selector>, Vec<String>) {
    let (mut selectors, mut grouped) = (Vec::new(), Vec::new());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|it: char| !is_part(it)).unwrap_or(rest.len());
        if length == 0 {
            // The length of a range is no name.
            rest = match first {
                '[' => after(rest, ']'),
                _ => &rest[first.len_utf8()..],
            };
            continue;
        }
        let (word, behind) = rest.split_at(length);
        rest = behind.trim_start();
        if GROUPING.contains(&word) {
            let end = rest.find(')').unwrap();
            let labels = rest[..end].trim_start_matches('(').split(',').map(str::trim);
            grouped.extend(labels.filter(|label| !label.is_empty()).map(str::to_owned));
            rest = &rest[end..];
        } else if first.is_ascii_digit() || OPERATORS.contains(&word) {
            // A number such as 1e9 is one word.
        } else if rest.starts_with('(') || (is_function(word) && !rest.starts_with('{')) {
            // A function, or an aggregation whose labels stand before its argument.
        } else {
            let (labels, behind) = matchers(rest);
            rest = behind;
            selectors.push(Selector { name: word.to_owned(), labels });
        }
    }
    (selectors, grouped)
}

fn is_part(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '_' | ':' | '.')
}

fn is_function(word: &str) -> bool {
    matches!(word, "sum" | "min" | "max" | "avg" | "count" | "topk" | "bottomk")
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, after)| after)
}

/// The labels in braces, if there are any, and what comes behind.
fn matchers(text: &str) -> (Vec<Matcher>, &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return (Vec::new(), text) };
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return (labels, behind);
        }
        let end = rest.find(['=', '!']).unwrap();
        let label = rest[..end].trim().to_owned();
        let (operator, quoted) = rest[end..].split_once('"').unwrap();
        let (value, behind) = quoted.split_once('"').unwrap();
        let values: Vec<&str> =
            if operator.contains('~') { value.split('|').collect() } else { vec![value] };
        labels.push(Matcher { label, values: values.into_iter().map(str::to_owned).collect() });
        rest = behind;
    }
}
