//! Names of files that are safe to be made: those of URLs come from strangers.

use std::collections::BTreeSet;

use super::place::{MANIFEST, PART, PART_RECORD};

/// Bytes of a name, so that what is added to it still fits where names have 255.
const LONGEST: usize = 120;
/// Bytes of an ending that is kept when a name is cut.
const LONGEST_ENDING: usize = 16;
/// Of a file whose URL has no name.
const NAMELESS: &str = "output";

/// One name for each, in the same order: a plain file name without control characters, which is that of
/// no other file here, also where case does not count, and none of those that are `taken`.
pub(super) fn file_names<'a>(
    given: impl Iterator<Item = &'a str>,
    taken: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let mut taken: BTreeSet<String> = taken.map(str::to_lowercase).collect();
    taken.insert(MANIFEST.to_owned());
    given
        .map(|name| {
            let name = plain(name);
            let names =
                std::iter::once(name.clone()).chain((2..).map(|copy| numbered(&name, copy)));
            // Of endless names one is free.
            names.into_iter().find(|it| taken.insert(it.to_lowercase())).unwrap_or(name)
        })
        .collect()
}

fn plain(name: &str) -> String {
    let legal = |char: char| !(st_log::is_unprintable(char) || r#"/\:*?"<>|"#.contains(char));
    let name: String = name.chars().map(|char| if legal(char) { char } else { '_' }).collect();
    let name = name.trim();
    // Neither hidden, nor the folder above.
    let hidden = name.strip_prefix('.').map(|rest| format!("_{rest}"));
    let mut name = cut(hidden.as_deref().unwrap_or(name));
    if name.is_empty() {
        NAMELESS.clone_into(&mut name);
    }
    // Those names are for what is not whole yet.
    let lower = name.to_lowercase();
    if lower.ends_with(PART) || lower.ends_with(PART_RECORD) {
        name.push('_');
    }
    name
}

/// The name without its ending, and the ending with its dot.
fn split(name: &str) -> (&str, &str) {
    let dot = name.rfind('.').filter(|&dot| dot > 0 && name.len() - dot <= LONGEST_ENDING);
    dot.and_then(|dot| name.split_at_checked(dot)).unwrap_or((name, ""))
}

fn cut(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    let end = stem.floor_char_boundary(LONGEST - ending.len());
    format!("{}{ending}", stem.get(..end).unwrap_or_default())
}

fn numbered(name: &str, copy: u32) -> String {
    let (stem, ending) = split(name);
    format!("{stem}-{copy}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> Vec<String> {
        file_names(given.iter().copied(), std::iter::empty())
    }

    #[test]
    fn usual_names_stay_as_they_are() {
        let given = ["trained_model.tar", "a b (1).safetensors", "modèle.png", "noending"];
        assert_eq!(names(&given), given);
    }

    #[test]
    fn hostile_names_become_plain_ones() {
        for (given, name) in [
            ("..", "_."),
            (".", "_"),
            ("", "output"),
            ("  ", "output"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            (r"..\..\boot.ini", "_._.._boot.ini"),
            (".bashrc", "_bashrc"),
            ("a\0b\n\u{1b}[2J\u{202e}c", "a_b__[2J_c"),
            ("c:evil", "c_evil"),
            ("x.part", "x.part_"),
            ("x.PART.json", "x.PART.json_"),
        ] {
            assert_eq!(names(&[given]), [name], "{given:?}");
        }
    }

    #[test]
    fn no_two_files_have_one_name() {
        let given = ["a.tar", "A.tar", "a.tar", "a-2.tar", "manifest.json", "", ""];
        let expected =
            ["a.tar", "A-2.tar", "a-3.tar", "a-2-2.tar", "manifest-2.json", "output", "output-2"];
        assert_eq!(names(&given), expected);
    }

    #[test]
    fn a_name_that_is_taken_is_given_to_no_other() {
        let names = file_names(["a.tar", "b"].into_iter(), ["A.tar"].into_iter());
        assert_eq!(names, ["a-2.tar", "b"]);
    }

    #[test]
    fn a_long_name_is_cut_before_its_ending() {
        let long = format!("{}.safetensors", "ä".repeat(200));
        let name = names(&[&long]).remove(0);
        assert!(name.len() <= LONGEST && name.ends_with("ä.safetensors"), "{name}");
        let endless = format!("a.{}", "b".repeat(300));
        assert_eq!(names(&[&endless]).remove(0).len(), LONGEST);
    }
}
