//! Checks of the table of messages in docs/logging.md against what the code logs.
//!
//! Promises: a message without a row, a row without a message, and a row with another level or
//! logger are faults; what users were promised word for word stands in the code once. A part that
//! changes is `{..}` in the code and one of `STAND_INS` in the table. Leaves out: the fields, and
//! messages that are nothing but a variable.

use super::text::{Keep, blank, without_tests};
use super::tree::{File, Tree};
use super::{Fault, places, refuse};

const DOCUMENT: &str = "docs/logging.md";

/// Below this all loggers of the project stand; the table leaves it out.
const ROOT: &str = "simpletuner.cloud.";

/// What users were promised, as the table writes it.
const PROMISED: [&str; 7] = [
    "Starting job status polling",
    "Synced N active jobs",
    "Queue scheduler started",
    "Expired N approval requests",
    "Failed to sync job X",
    "Error in job polling",
    "Failed to start queue processing",
];

/// What the table writes for a part that changes.
const STAND_INS: [&str; 7] = ["N", "X", "METHOD", "PATH", "ADDRESS", "PROVIDER", "STATUS"];

const MACROS: [(&str, &str); 5] = [
    ("debug!(", "DEBUG"),
    ("info!(", "INFO"),
    ("warning!(", "WARNING"),
    ("error!(", "ERROR"),
    ("critical!(", "CRITICAL"),
];

/// What a failed run of a background task is logged with.
const BECAUSE: &str = "because(";

/// A message in the code.
#[derive(Debug)]
struct Said {
    path: String,
    line: usize,
    text: String,
    /// Where the place tells them.
    level: Option<&'static str>,
    logger: Option<String>,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    line: usize,
    shown: String,
    text: String,
    levels: String,
    loggers: String,
}

/// The product code of one file, twice, with the same positions in both.
struct Source {
    /// Literals are blank between their quotes.
    code: Vec<char>,
    literals: Vec<char>,
}

impl Source {
    fn of(file: &File) -> Self {
        let read = |keep| without_tests(&blank(&file.text, keep)).chars().collect();
        Self { code: read(Keep::Code), literals: read(Keep::CodeAndLiterals) }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.code.iter().take(at).filter(|it| **it == '\n').count()
    }

    /// Where `word` stands as the start of a name; gives the position behind it.
    fn find(&self, word: &str) -> Vec<usize> {
        let word: Vec<char> = word.chars().collect();
        let starts = self.code.windows(word.len()).enumerate().filter(|(_, at)| *at == word);
        starts
            .filter(|(at, _)| {
                let before = at.checked_sub(1).and_then(|it| self.code.get(it));
                !before.is_some_and(|it| it.is_alphanumeric() || *it == '_')
            })
            .map(|(at, _)| at + word.len())
            .collect()
    }

    /// The literal that opens at `at`, as the program has it.
    fn literal(&self, at: usize) -> String {
        let quote = |from: usize| self.code.iter().skip(from).position(|it| *it == '"');
        let text: String =
            self.literals.iter().skip(at + 1).take(quote(at + 1).unwrap_or(0)).collect();
        let mut lines = text.split("\\\n");
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |all, line| all + line.trim_start()).replace("\\\"", "\"")
    }

    fn all_literals(&self) -> Vec<String> {
        let quotes = self.code.iter().enumerate().filter(|(_, it)| **it == '"');
        quotes.step_by(2).map(|(at, _)| self.literal(at)).collect()
    }

    /// Where the arguments of a call begin that opens before `from`.
    fn arguments(&self, from: usize) -> Vec<usize> {
        let mut depth = 0_usize;
        let mut begins = true;
        let mut found = Vec::new();
        for (at, character) in self.code.iter().enumerate().skip(from) {
            if begins && !character.is_whitespace() {
                found.push(at);
                begins = false;
            }
            match character {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ => {}
            }
        }
        found
    }

    fn is_literal(&self, at: usize) -> bool {
        self.code.get(at) == Some(&'"')
    }

    /// The literal that an argument is, or that the constant of its name is.
    fn text_of(&self, at: usize) -> Option<String> {
        if self.is_literal(at) {
            return Some(self.literal(at));
        }
        let rest = self.code.iter().skip(at);
        let name: String = rest.take_while(|it| it.is_alphanumeric() || **it == '_').collect();
        let constant = self.find(&format!("const {name}: &str = ")).into_iter().next()?;
        self.is_literal(constant).then(|| self.literal(constant))
    }
}

/// `{..}` becomes `{}`.
fn of_code(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "{}" + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// A stand-in becomes `{}`.
fn of_table(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        let stands_in = STAND_INS.contains(&word.as_str());
        out.push_str(if stands_in { "{}" } else { &word });
        out.push(character);
        word.clear();
    }
    out.trim_end().to_owned()
}

fn product(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|file| {
        let in_product = file.path.starts_with("crates/") && file.path.contains("/src/");
        let of_tests = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
        in_product && !of_tests && !file.path.starts_with("crates/st-testkit/")
    })
}

/// The logger of a file: its own, else that of its crate.
fn logger_of(tree: &Tree, file: &File, source: &Source) -> Option<String> {
    let named = |source: &Source| {
        let at = source.find("get_logger(").into_iter().next()?;
        source.is_literal(at).then(|| source.literal(at))
    };
    named(source).or_else(|| {
        let (of_crate, _) = file.path.split_once("/src/")?;
        let root = format!("{of_crate}/src/lib.rs");
        named(&Source::of(tree.files.iter().find(|it| it.path == root)?))
    })
}

fn said(tree: &Tree) -> Vec<Said> {
    let mut all = Vec::new();
    for file in product(tree) {
        let source = Source::of(file);
        let logger = logger_of(tree, file, &source);
        for (name, level) in MACROS {
            for at in source.find(name) {
                let arguments = source.arguments(at);
                let Some(text) = arguments.into_iter().find(|it| source.is_literal(*it)) else {
                    continue;
                };
                let text = of_code(&source.literal(text));
                let (line, path) = (source.line(at), file.path.clone());
                all.push(Said { path, line, text, level: Some(level), logger: logger.clone() });
            }
        }
        for at in source.find(BECAUSE) {
            let Some(text) = source.text_of(at) else { continue };
            let (line, path) = (source.line(at), file.path.clone());
            all.push(Said { path, line, text: of_code(&text), level: None, logger: None });
        }
    }
    all.retain(|it| it.text != "{}");
    all
}

fn rows(tree: &Tree) -> Vec<Row> {
    let text = tree.get(DOCUMENT).unwrap_or_default();
    (1..)
        .zip(text.lines())
        .skip_while(|(_, line)| *line != "## Messages")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(line, text)| {
            let mut cells = text.strip_prefix("| `")?.split('|').map(str::trim);
            let shown = cells.next()?.trim_end_matches('`').to_owned();
            let (levels, loggers) = (cells.next()?.to_owned(), cells.next()?.to_owned());
            Some(Row { line, text: of_table(&shown), shown, levels, loggers })
        })
        .collect()
}

fn disagreements(tree: &Tree) -> Vec<Fault> {
    let (said, rows) = (said(tree), rows(tree));
    let literals: Vec<String> = product(tree)
        .flat_map(|file| Source::of(file).all_literals())
        .map(|text| of_code(&text))
        .collect();
    let mut faults = Vec::new();
    for message in &said {
        let Some(row) = rows.iter().find(|row| row.text == message.text) else {
            let remedy = format!("add `{}` to the messages in {DOCUMENT}", message.text);
            faults.push(Fault::new(&message.path, message.line, remedy));
            continue;
        };
        let has = |cell: &str, word: &str| cell.split(", ").any(|it| it == word);
        let level = message.level.filter(|level| !has(&row.levels, level));
        let short = message.logger.as_deref().map(|it| it.strip_prefix(ROOT).unwrap_or(it));
        let logger = short.filter(|logger| !has(&row.loggers, logger));
        if let Some(cell) = level.or(logger) {
            let remedy = format!("`{}` is logged with {cell}", row.shown);
            faults.push(Fault::new(DOCUMENT, row.line, remedy));
        }
    }
    for row in rows.iter().filter(|row| !literals.contains(&row.text)) {
        let remedy = format!("remove `{}`: nothing logs it", row.shown);
        faults.push(Fault::new(DOCUMENT, row.line, remedy));
    }
    for promised in PROMISED {
        let count = literals.iter().filter(|it| **it == of_table(promised)).count();
        if count != 1 || !rows.iter().any(|row| row.shown == promised) {
            let remedy = format!(
                "users were promised `{promised}`: keep it in the table and once in the code, \
                 where it stands {count} times"
            );
            faults.push(Fault::new(DOCUMENT, 1, remedy));
        }
    }
    faults
}

#[test]
fn the_table_of_messages_and_the_code_agree() {
    let tree = Tree::real();
    assert!(said(&tree).len() > 40, "found only {} messages", said(&tree).len());
    refuse(&disagreements(&tree));
}

/// A tree in which all is well, with `code` and `rows` besides.
fn sample(code: &str, rows: &str) -> Vec<Fault> {
    let calls = PROMISED.map(|text| {
        let text = of_table(text).replace("{}", "{n}");
        format!("info!(logger: LOG, \"{text}\");\n")
    });
    let logger = "const LOG: Logger = get_logger(\"simpletuner.cloud.queue\");\n";
    let promised = format!("{logger}{}", calls.concat());
    let table = PROMISED.map(|text| format!("| `{text}` | INFO | queue | x | |\n")).concat();
    let mut tree = Tree::sample("crates/a/src/lib.rs", &promised);
    let mut file = |path: &str, text: &str| {
        tree.files.push(File { path: path.to_owned(), text: text.to_owned() });
    };
    file("crates/a/src/x.rs", code);
    file(DOCUMENT, &format!("## Messages\n{table}{rows}## Next\n| `Not a message` | | | | |\n"));
    disagreements(&tree)
}

#[test]
fn what_agrees_is_accepted() {
    assert_eq!(sample("", ""), []);
    let code = "st_log::warning!(\n    logger: LOG, a = \"b\", c = f(\"d\", 1),\n    \
                \"Went \\\n     to {place}\"\n);\n// info!(\"No\")\n#[cfg(test)]\nmod tests {\n    \
                info!(\"No\");\n}\n";
    assert_eq!(sample(code, "| `Went to X` | WARNING | queue | x | |\n"), []);
    let code = "const FAILED: &str = \"Error in it\";\nf().map_err(T::because(FAILED))?;\n\
                f().map_err(T::because(\"Failed\"))?;\nerror!(logger: LOG, \"{}\", it.message);";
    let rows = "| `Error in it` | ERROR | background | x | |\n| `Failed` | ERROR | x | x | |\n";
    assert_eq!(sample(code, rows), []);
}

#[test]
fn a_message_without_a_row_is_refused() {
    let found = |code: &str| places(&sample(code, ""));
    assert_eq!(found("\ninfo!(logger: LOG, \"Went to {place}\");"), ["crates/a/src/x.rs:2"]);
    assert_eq!(found("f().map_err(T::because(\"Failed\"))?;"), ["crates/a/src/x.rs:1"]);
    assert_eq!(found("const F: &str = \"G\";\nbecause(F)"), ["crates/a/src/x.rs:2"]);
}

#[test]
fn a_row_without_code_or_with_another_level_or_logger_is_refused() {
    let found = |code: &str, row: &str| places(&sample(code, row));
    let row = ["docs/logging.md:9"];
    let code = "info!(logger: LOG, \"Went\");";
    assert_eq!(found(code, "| `Went` | INFO | queue | x | |\n"), [""; 0]);
    assert_eq!(found("", "| `Went` | INFO | queue | x | |\n"), row);
    assert_eq!(found(code, "| `Went` | DEBUG | queue | x | |\n"), row);
    assert_eq!(found(code, "| `Went` | INFO | jobs | x | |\n"), row);
}

#[test]
fn a_promised_message_that_is_gone_or_there_twice_is_refused() {
    let again = "info!(logger: LOG, \"Synced {} active jobs\", n);";
    assert_eq!(places(&sample(again, "")), [format!("{DOCUMENT}:1")]);
    let none = disagreements(&Tree::sample(DOCUMENT, "## Messages\n"));
    assert_eq!(none.len(), PROMISED.len());
}
