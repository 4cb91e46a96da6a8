//! What jobs on this machine may run and use.

use std::path::Path;

use st_workers::provider::local::DeviceName;

use super::load;

#[test]
fn commands_come_from_the_file() {
    let yaml = "providers:\n  local:\n    commands:\n      train:\n        program: /bin/train\n        \
                args: [--fast]\n        env: { A: b }\n";
    let config = load(&[], Some(yaml)).unwrap();
    let train = &config.local.commands["train"];
    assert_eq!(
        (train.program.as_path(), train.args.as_slice()),
        (Path::new("/bin/train"), &["--fast".to_owned()][..])
    );
    assert_eq!(train.env["A"], "b");
}

#[test]
fn one_card_has_one_name() {
    let said = |devices: &str| {
        load(&[], Some(&format!("providers:\n  local:\n    devices: {devices}\n"))).unwrap_err()
    };
    for (devices, fault) in [
        ("[0, GPU-8932f937-d72c]", "\"0\" and \"GPU-8932f937-d72c\" may be the same card"),
        (
            "[GPU-8932f937-d72c, GPU-8932]",
            "may be the same card; name all by index or all by whole",
        ),
        (
            "[\"0\", \"00\"]",
            "item 1: expected a device as CUDA_VISIBLE_DEVICES names it, such as 0",
        ),
        ("[1, 1]", "\"1\" is there twice"),
    ] {
        assert!(said(devices).contains(fault), "{devices}: {}", said(devices));
    }
    load(&[], Some("providers:\n  local:\n    devices: [1, 10, 0]\n")).unwrap();
}

#[test]
fn what_local_jobs_get_of_the_machine_comes_from_the_file() {
    let yaml = "\
providers:
  local:
    pass_env: [HF_TOKEN, NCCL_*]
    devices: [GPU-8932f937-d72c, GPU-1]
    limits: { memory_mib: 1024, open_files: 4096, nice: 10 }
    log_mib: 2
    commands:
      train: { program: /bin/train, devices: 2 }
      usual: { program: /bin/train }
      none: { program: /bin/train, devices: 0 }
";
    let local = load(&[], Some(yaml)).unwrap().local;
    let passed: Vec<String> = local.pass_env.iter().map(ToString::to_string).collect();
    assert_eq!(passed, ["HF_TOKEN", "NCCL_*"]);
    let devices: Vec<&str> = local.devices.iter().map(DeviceName::as_str).collect();
    assert_eq!(devices, ["GPU-8932f937-d72c", "GPU-1"]);
    let limits = local.limits;
    let expected = (Some(1024 * 1024 * 1024), Some(4096), Some(10));
    assert_eq!((limits.memory, limits.open_files, limits.nice), expected);
    assert_eq!(local.log_bytes, 2 * 1024 * 1024);
    let devices_of = |name: &str| local.commands[name].devices;
    assert_eq!(["train", "usual", "none"].map(devices_of), [2, 1, 0]);

    let bare = load(&[], Some("providers: { local: { commands: { a: { program: /bin/a } } } }"));
    let bare = bare.unwrap().local;
    assert_eq!((bare.commands["a"].devices, bare.log_bytes), (0, 8 * 1024 * 1024));
    assert!(bare.pass_env.is_empty() && bare.devices.is_empty());
}

#[test]
fn what_local_jobs_cannot_get_is_named_with_its_place() {
    let yaml = "\
providers:
  local:
    pass_env: [\"*\", 7]
    devices: [0, 0, \"1,2\", true]
    limits: { memory_mib: 1, open_files: many, nice: -5 }
    log_mib: 0
    commands:
      train: { program: /bin/train, devices: 3 }
";
    let said = load(&[], Some(yaml)).unwrap_err();
    for line in [
        "yaml:3:15: providers.local.pass_env: item 0: expected the name of a variable such as",
        "yaml:3:15: providers.local.pass_env: item 1: expected the name of a variable such as",
        "yaml:4:14: providers.local.devices: \"0\" is there twice",
        "yaml:4:14: providers.local.devices: item 2: expected a device as CUDA_VISIBLE_DEVICES",
        "yaml:4:14: providers.local.devices: item 3: expected text, found true",
        "yaml:5:27: providers.local.limits.memory_mib: expected a whole number from 16 to 1048576",
        "yaml:5:42: providers.local.limits.open_files: expected a whole number from 16 to",
        "yaml:5:54: providers.local.limits.nice: expected a whole number from 0 to 19, found -5",
        "yaml:6:14: providers.local.log_mib: expected a whole number from 1 to 1024, found 0",
        "yaml:8:46: providers.local.commands.train.devices: expected a whole number from 0 to 2, as \
         many as providers.local.devices has, found 3",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}
