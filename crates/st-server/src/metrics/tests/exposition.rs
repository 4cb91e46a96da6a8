//! A reader of the text format that knows nothing of what wrote it, and refuses what the format does.

#![expect(clippy::string_slice, reason = "the places are those of characters that were found")]

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series, by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The type of each family, in words.
    pub(crate) types: BTreeMap<String, String>,
    /// The value of each series, by its name and labels.
    pub(crate) series: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a whole text.
    pub(crate) fn read(text: &str) -> Self {
        let (mut read, mut helped) = (Self::default(), BTreeSet::new());
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line has an end, too");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "{name} is there twice");
                assert!(!help.is_empty(), "{name} has no help");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helped.contains(name), "{name} has no help");
                assert!(read.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name}");
                name.clone_into(&mut family);
            } else {
                read.sample(line, &family);
            }
        }
        read.check_histograms();
        read
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(family).unwrap_or("?");
        let allowed: &[&str] = match self.types[family].as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{name} is below {family}");
        let before = self.series.insert((name, labels), value.parse().unwrap());
        assert_eq!(before, None, "{line} is there twice");
    }

    fn check_histograms(&self) {
        for ((name, labels), count) in &self.series {
            let Some(family) = name.strip_suffix("_count") else { continue };
            if self.types.get(family).is_none_or(|kind| kind != "histogram") {
                continue;
            }
            let is_bucket = |of: &(String, Labels)| {
                let mut others = of.1.clone();
                others.remove("le");
                of.0 == format!("{family}_bucket") && others == *labels
            };
            let buckets = self.series.iter().filter(|(of, _)| is_bucket(of));
            let mut buckets: Vec<(f64, f64)> =
                buckets.map(|(of, count)| (of.1["le"].parse().unwrap(), *count)).collect();
            buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
            assert!(
                buckets.is_sorted_by_key(|(_, count)| *count),
                "{name} {labels:?}: {buckets:?}"
            );
            assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, *count), "{name} {labels:?}");
        }
    }

    /// The value of a series.
    pub(crate) fn value<const N: usize>(&self, name: &str, labels: [(&str, &str); N]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("there is no {name} {labels:?}"))
    }

    /// The value of a series, if it is shown.
    pub(crate) fn find<const N: usize>(
        &self,
        name: &str,
        labels: [(&str, &str); N],
    ) -> Option<f64> {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// Whether a family has any series.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.series.keys().any(|(of, _)| of == name)
    }
}

/// The name, the labels and the value.
fn sample(line: &str) -> (String, Labels, &str) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(end);
    let is_name = |text: &str| text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    assert!(is_name(name) && !name.is_empty(), "{line}");
    let mut labels = Labels::new();
    let Some(mut rest) = rest.strip_prefix('{') else {
        return (name.to_owned(), labels, rest.trim_start());
    };
    loop {
        let (label, quoted) = rest.split_once("=\"").unwrap();
        assert!(is_name(label), "{line}");
        let (value, after) = unquoted(quoted);
        assert_eq!(labels.insert(label.to_owned(), value), None, "{line}");
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (name.to_owned(), labels, after.strip_prefix("} ").unwrap()),
        }
    }
}

/// A value up to its quotation mark, and what comes after.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                plain @ ('"' | '\\') => plain,
                other => panic!("\\{other} is no escape"),
            }),
            (_, plain) => value.push(plain),
        }
    }
}
