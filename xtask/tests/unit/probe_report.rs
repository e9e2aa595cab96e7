//! Tests of `python/report`.

use super::*;

fn report(stdout: &str, code: i32, stderr: &str) -> Report {
    let (stdout, stderr) = (stdout.into(), stderr.into());
    Report::parse(&Finished { code, stdout, stderr, timed_out: None })
}

#[test]
fn torch_as_it_may_turn_up() {
    let packages = r#"{"packages": {"Foo_Bar": "1.0"}}"#;
    let importing = format!("{packages}\n{{\"stage\": \"importing torch\"}}\n");
    let gpu = r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "devices": ["NVIDIA H200"]}"#;
    let cpu = r#"{"torch": "2.5.1+cpu", "cuda": null, "devices": []}"#;
    let none = "sh: python3: not found\n";
    for (stdout, code, stderr, want) in [
        (format!("{packages}\n{gpu}\n"), 0, "", None),
        (format!("{packages}\n{cpu}\nnoise at exit\n"), 0, "", None),
        (
            format!("{packages}\n{}\n", gpu.replace("2.5.1", "2.6.0")),
            0,
            "",
            Some("torch is 2.6.0+cu124, pinned is 2.5.1"),
        ),
        (
            format!("{packages}\n{{\"error\": \"ImportError: libcudnn.so.9\"}}\n"),
            0,
            "",
            Some("torch does not import: ImportError: libcudnn"),
        ),
        (
            format!("{packages}\n"),
            139,
            "",
            Some("importing torch ended Python with exit code 139 (segmentation fault)"),
        ),
        (importing.clone(), 0, "", Some("importing torch ended Python with exit code 0")),
        (
            importing,
            1,
            "Timeout (0:00:50)!\nThread 0x1 (most recent call first):\n",
            Some("importing torch hangs: no end after 0:00:50"),
        ),
        (
            String::new(),
            127,
            none,
            Some("python3 did not run (exit code 127): sh: python3: not found"),
        ),
    ] {
        let report = report(&stdout, code, stderr);
        let got = report.check(Some("2.5.1")).err().map(|error| error.to_string());
        match want {
            None => assert_eq!(got, None),
            Some(want) => {
                assert!(got.clone().is_some_and(|got| got.contains(want)), "{got:?} lacks {want}")
            }
        }
    }
    assert_eq!(report(packages, 0, "").packages["foo-bar"], "1.0");
}

#[test]
fn what_was_said_before_a_hang_is_kept() {
    let said = r#"{"stage": "opening the device nodes"}
{"nodes": {"/dev/nvidia0": "EPERM"}, "wsl": false, "visible": {"kind": "numbers", "highest": 7}, "shm": 67108864}
{"stage": "loading libcuda.so.1"}
{"libcuda": "ok"}
{"driver": 12040}
{"stage": "initialising the driver (cuInit)"}"#;
    let report = report(said, 1, "Timeout (0:00:50)!\n");
    assert_eq!(
        report.driver,
        Driver {
            nodes: Some([("/dev/nvidia0".to_owned(), "EPERM".to_owned())].into()),
            visible: Visible { kind: "numbers".into(), highest: Some(7) },
            shm: Some(67_108_864),
            libcuda: Some("ok".into()),
            version: Some(12040),
            ..Driver::default()
        }
    );
    assert!(report.cut_short.unwrap().starts_with("initialising the driver (cuInit) hangs"));
}

#[test]
fn a_gpu_is_described() {
    let said = r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}
{"devices": ["a"], "capabilities": [[9, 0]], "archs": ["sm_90"]}
{"memory": [1, 2]}
{"kernel": "ok"}"#;
    let torch = report(said, 0, "").torch.unwrap();
    assert_eq!((torch.capabilities, torch.memory), (vec![(9, 0)], Some((1, 2))));
    assert_eq!((torch.custom_fwd, torch.kernel.as_deref()), (true, Some("ok")));
}
