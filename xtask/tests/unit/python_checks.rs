//! Tests of `doctor/checks/python`.

use super::*;
use crate::doctor::Status;
use crate::doctor::checks::judge;
use crate::doctor::facts::stated::read;
use crate::process::Finished;

fn report(stdout: &str) -> Report {
    Report::parse(&Finished { stdout: stdout.into(), ..Finished::default() })
}

fn with(inside: &str, torch: &str, requirements: &str) -> Facts {
    Facts::none()
        .with_inside(Ok(report(inside)))
        .with_torch(Ok(report(torch)))
        .with_pins(Ok(requirements::pins(requirements)))
        .with_requested(Ok(None))
        .with_container(Ok(None))
}

const TORCH: &str = r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}"#;

#[test]
fn an_interpreter_is_there_or_not() {
    let fine = with(r#"{"python": "3.11.2", "executable": "/x", "packages": {}}"#, "", "");
    assert_eq!(judge(interpreter, &fine).message, "3.11.2");
    assert_eq!(judge(interpreter, &with("", "", "")).status, Status::Fail);
    let unanswered = Facts::none().with_inside(Err("no answer".into()));
    assert_eq!(judge(interpreter, &unanswered).status, Status::Error);
    let running = Some(read(r#"{"Name":"/p-backend-1","State":{"Status":"running"}}"#));
    let report = report(r#"{"python": "3.11.2", "executable": "/x"}"#);
    let facts = Facts::none().with_inside(Ok(report)).with_container(Ok(running));
    assert_eq!(judge(interpreter, &facts).evidence, ["/x, in container p-backend-1"]);
    // A container that did not start, and a probe that hangs, say nothing of it.
    for (code, stderr, status) in [
        (125, "docker: Error response from daemon: x", Status::Error),
        (1, "Timeout (0:00:50)!\n", Status::Error),
        (127, "sh: python3: not found", Status::Fail),
    ] {
        let (stdout, stderr) = (String::new(), stderr.to_owned());
        let report = Report::parse(&Finished { code, stdout, stderr, timed_out: None });
        let facts = Facts::none().with_inside(Ok(report)).with_container(Ok(None));
        assert_eq!(judge(interpreter, &facts).status, status, "{code}");
    }
}

#[test]
fn torch_is_what_is_pinned_or_not() {
    for (said, requirements, status, message) in [
        (TORCH, "torch==2.5.1", Status::Ok, "2.5.1+cu124"),
        (TORCH, "", Status::Ok, "2.5.1+cu124"),
        (
            r#"{"torch": "2.3.1", "custom_fwd": false}"#,
            "torch==2.3.1",
            Status::Fail,
            "Step1X-3D needs torch 2.4 or newer",
        ),
        (TORCH, "torch==2.6.0", Status::Fail, "torch is 2.5.1+cu124, pinned is 2.6.0"),
        (
            r#"{"error": "ModuleNotFoundError: No module named 'torch'"}"#,
            "torch==2.5.1",
            Status::Fail,
            "torch does not import: ModuleNotFoundError",
        ),
    ] {
        let finding = judge(torch, &with("", said, requirements));
        let pin = requirements.strip_prefix("torch==");
        assert_eq!(finding.expected.as_deref(), pin);
        assert_eq!(finding.evidence.last().unwrap(), "in a temporary container of the image");
        assert_eq!(
            (finding.status, finding.message.contains(message)),
            (status, true),
            "{finding:?}"
        );
    }
    let slow = Report::parse(&Finished {
        code: 1,
        stdout: r#"{"stage": "importing torch"}"#.into(),
        stderr: "Timeout (0:00:50)!\n".into(),
        timed_out: None,
    });
    let finding = judge(torch, &Facts::none().with_torch(Ok(slow)));
    assert_eq!(finding.status, Status::Error);
    assert!(finding.message.contains("importing torch hangs"), "{finding:?}");
    assert_eq!(finding.next_step(), Some("cargo xtask doctor torch"));
}

#[test]
fn torchvision_fits_or_not() {
    let there = r#"{"packages": {"torchvision": "0.20.1"}, "unmet": []}"#;
    let unmet = r#"{"packages": {"torchvision": "0.20.1"}, "unmet": [{"package": "torchvision", "needs": "torch", "specifier": "==2.5.1", "found": "2.6.0"}]}"#;
    let (full, pin) = (Some("cargo xtask full"), Some("0.21.0"));
    for (inside, requirements, status, message, expected, step) in [
        (there, "torchvision==0.20.1", Status::Ok, "0.20.1", Some("0.20.1"), None),
        (
            there,
            "torchvision==0.21.0",
            Status::Fail,
            "torchvision is 0.20.1, pinned is 0.21.0",
            pin,
            full,
        ),
        (unmet, "", Status::Fail, "torchvision needs torch==2.5.1, found 2.6.0", None, full),
        (
            "{}",
            "torchvision==0.21.0",
            Status::Fail,
            "torchvision is missing, pinned is 0.21.0",
            pin,
            full,
        ),
        ("{}", "", Status::Skipped, "neither pinned nor installed", None, None),
    ] {
        let finding = judge(torchvision, &with(inside, TORCH, requirements));
        assert_eq!((finding.status, &*finding.message), (status, message));
        assert_eq!((finding.expected.as_deref(), finding.next_step()), (expected, step));
    }
    assert!(
        judge(dependencies, &with(unmet, TORCH, "")).status == Status::Ok,
        "one cause, one fault"
    );
}

#[test]
fn a_cpu_build_is_a_fault_on_a_gpu_alone() {
    let cpu = r#"{"torch": "2.5.1+cpu", "cuda": null}"#;
    let on = |device, said| {
        let facts = Facts::none().with_torch(Ok(report(said))).with_requested(Ok(Some(device)));
        judge(cuda_build, &facts).status
    };
    assert_eq!(on(Device::Gpu, cpu), Status::Fail);
    assert_eq!(on(Device::Cpu(""), cpu), Status::Ok);
    assert_eq!(on(Device::Gpu, TORCH), Status::Ok);
}

#[test]
fn every_pin_is_compared() {
    let inside = r#"{"packages": {"numpy": "2.0.0", "pillow": "10.3.0", "torch": "9"}, "unmet": [{"package": "a", "needs": "b", "specifier": ">=2", "found": "1"}]}"#;
    let facts = |requirements| with(inside, TORCH, requirements);
    assert_eq!(judge(pins, &facts("torch==2.5.1\npillow==10.3.0")).message, "1 of 1 as pinned");
    assert_eq!(judge(pins, &facts("numpy==1.26.4")).message, "numpy is 2.0.0, pinned is 1.26.4");
    let two = judge(pins, &facts("numpy==1.26.4\neinops==0.8.0"));
    assert_eq!(two.message, "einops is missing, pinned is 0.8.0; and 1 more");
    assert_eq!(two.evidence.len(), 2);

    let finding = judge(dependencies, &facts(""));
    assert_eq!((finding.status, &*finding.message), (Status::Warn, "a needs b>=2, found 1"));
    let left_out = r#"{"packages": {}, "unmet": [{"package": "a", "needs": "Foo_bar", "specifier": "<3,>=2", "found": null}]}"#;
    let excluding = |names: &[&str]| {
        let excludes = names.iter().map(|name| (*name).to_owned()).collect();
        judge(dependencies, &with(left_out, TORCH, "").with_excludes(Ok(excludes))).status
    };
    assert_eq!((excluding(&["foo-bar"]), excluding(&["foo"])), (Status::Ok, Status::Warn));
    let unknown =
        r#"{"packages": {}, "unmet_unknown": "ModuleNotFoundError: No module named 'packaging'"}"#;
    assert_eq!(judge(dependencies, &with(unknown, TORCH, "")).status, Status::Error);
    assert_eq!(judge(dependencies, &with("", TORCH, "")).status, Status::Error);
    assert_eq!(judge(dependencies, &with(r#"{"unmet": []}"#, TORCH, "")).status, Status::Ok);
}
