//! The Dockerfile: what of it can be held against the program without Docker.

use std::process::Command;

const DOCKERFILE: &str = include_str!("../../../../Dockerfile");
const TOOLCHAIN: &str = include_str!("../../../../rust-toolchain.toml");

/// The instructions, each on one line.
fn instructions() -> Vec<String> {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn instruction(begin: &str) -> String {
    instructions().into_iter().rfind(|line| line.starts_with(begin)).unwrap()
}

/// The command of an instruction in its form as a list.
fn command(instruction: &str) -> Vec<String> {
    let list = instruction.get(instruction.find('[').unwrap()..).unwrap();
    serde_json::from_str(list).unwrap()
}

#[test]
fn it_is_built_by_the_compiler_of_the_workspace() {
    let channel = TOOLCHAIN.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let version = channel.trim_matches('"');
    let first = instructions().into_iter().next().unwrap();
    assert!(first.starts_with(&format!("FROM rust:{version}-")), "{first}");
}

#[test]
fn it_does_not_run_as_root_and_keeps_its_state_in_a_volume() {
    let user = instruction("USER ");
    assert!(!user.contains("root") && !user.starts_with("USER 0"), "{user}");
    let volume = command(&instruction("VOLUME ")).remove(0);
    let environment = instruction("ENV ");
    assert!(environment.contains(&format!("SIMPLETUNER_STATE_DIR={volume}")), "{environment}");
    // A volume takes its owner and its mode from the image.
    let copied = instruction("COPY --from=build --chown");
    assert!(copied.contains(&user.replace("USER ", "--chown=")), "{copied}");
    assert!(copied.ends_with(&volume), "{copied}");
}

#[test]
fn the_program_knows_the_commands_that_it_is_started_and_checked_by() {
    let program = command(&instruction("ENTRYPOINT ")).remove(0);
    let check = command(&instruction("HEALTHCHECK "));
    assert_eq!(check[0], program, "there is no shell that would find it");
    for arguments in [command(&instruction("CMD ")), check[1..].to_vec()] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_st-server"));
        let output = run.args(&arguments).arg("--help").output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
    }
}
