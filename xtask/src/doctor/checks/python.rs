//! Python and its packages in the service's container.

use crate::deploy::device::Device;
use crate::doctor::finding::{by_command, by_hand};
use crate::doctor::{Facts, Finding, Judgement, Trouble};
use crate::image::requirements::{self, mismatch, satisfies};
use crate::python::{Report, Torch, Unmet};

remedies! {
    BUILD_PYTHON = by_command("The image lacks a working python3.", &["cargo xtask full"]);
    INSTALL_PINNED = by_command("Install what is pinned.", &["cargo xtask full"]);
    TRY_AGAIN = by_command("See whether the machine's disk is busy, and try again.", &["cargo xtask doctor torch"]);
    RAISE_TORCH = by_hand("Pin a newer torch in backend/requirements.txt.", &["cargo xtask full   # afterwards"]);
    CUDA_WHEEL = by_hand("Pin torch in the same install as all else, from an index with CUDA wheels.", &["cargo xtask full   # afterwards"]);
    SETTLE = by_hand("Settle it in backend/requirements.txt.", &["cargo xtask full   # afterwards"]);
}

pub fn interpreter(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    if let Some((version, path)) = &report.python {
        return Ok(Finding::ok(version).evidence([format!("{path}, {}", place(facts))]));
    }
    let why = report.ending();
    // With docker's own code 125 the container was not even started.
    if report.hangs || report.code == 125 {
        return Err(why.into());
    }
    Ok(Finding::fail(why).remedy(BUILD_PYTHON).evidence([place(facts)]))
}

/// Where the probe ran.
fn place(facts: &Facts) -> String {
    match facts.running_container() {
        Ok(Some(container)) => format!("in container {}", container.name()),
        _ => "in a temporary container of the image".to_owned(),
    }
}

/// The probe's report, and torch where it imports.
pub fn imported(facts: &Facts) -> Result<(&Report, &Torch), Trouble> {
    let report = facts.torch()?;
    Ok((report, report.torch.as_ref().map_err(|why| Trouble::from(&**why))?))
}

pub fn torch(facts: &Facts) -> Judgement {
    let report = facts.torch()?;
    let pin = facts.pins().ok().and_then(|pins| pins.get("torch"));
    let finding = match &report.torch {
        // Too slow is not yet broken.
        Err(why) if report.hangs => Finding::from(Trouble::from(&**why)).remedy(TRY_AGAIN),
        Err(why) => Finding::fail(why).remedy(INSTALL_PINNED),
        Ok(torch) => match report.check(pin.map(String::as_str)).map_err(Trouble::from) {
            Err(Trouble { message, remedy, .. }) => Finding::fail(message)
                .found(&torch.version)
                .remedy(INSTALL_PINNED)
                .evidence([remedy.text]),
            // Step1X-3D calls it; torch has it from 2.4 on.
            Ok(()) if pin.is_some() && !torch.custom_fwd => {
                let finding = Finding::fail("Step1X-3D needs torch 2.4 or newer");
                finding.found(&torch.version).remedy(RAISE_TORCH)
            }
            Ok(()) => Finding::ok(&torch.version),
        },
    };
    Ok(Finding { expected: pin.cloned(), ..finding }.evidence([place(facts)]))
}

/// torchvision's compiled operators fit one version of torch only.
pub fn torchvision(facts: &Facts) -> Judgement {
    let (report, pins) = (facts.inside()?, facts.pins()?);
    let (installed, pin) = (report.packages.get("torchvision"), pins.get("torchvision"));
    let differs = pin.and_then(|pin| difference(report, "torchvision", pin));
    let unmet = report.unmet.iter().flatten().flatten().find(is_torchvisions);
    let finding = match (differs.or(unmet.map(ToString::to_string)), installed) {
        (Some(fault), _) => Finding::fail(fault).remedy(INSTALL_PINNED),
        (None, Some(version)) => Finding::ok(version),
        (None, None) => Finding::skipped("neither pinned nor installed"),
    };
    Ok(Finding { found: installed.cloned(), expected: pin.cloned(), ..finding })
}

/// How a package in the container differs from its pin.
fn difference(report: &Report, name: &str, pin: &str) -> Option<String> {
    let installed = report.packages.get(name).map(String::as_str);
    let fits = installed.is_some_and(|version| satisfies(version, pin));
    if fits { None } else { Some(mismatch(name, installed, pin)) }
}

/// A requirement for the check of torchvision.
fn is_torchvisions(unmet: &&Unmet) -> bool {
    unmet.package == "torchvision" && unmet.needs == "torch"
}

/// A wheel without CUDA runs anywhere and never on the GPU.
pub fn cuda_build(facts: &Facts) -> Judgement {
    let (_, torch) = imported(facts)?;
    Ok(match (&torch.cuda, facts.device()) {
        (Some(cuda), _) => Finding::ok(format!("for CUDA {cuda}")),
        (None, Ok(Device::Gpu)) => Finding::fail("this wheel of torch is built for the CPU alone")
            .found(&torch.version)
            .expected("a wheel for CUDA")
            .remedy(CUDA_WHEEL),
        (None, _) => Finding::ok("for the CPU alone"),
    })
}

/// Every exact pin against what is installed, but for those with a check of their own.
pub fn pins(facts: &Facts) -> Judgement {
    let (report, pins) = (facts.inside()?, facts.pins()?);
    let others = pins.iter().filter(|(name, _)| !["torch", "torchvision"].contains(&&***name));
    let others: Vec<_> = others.collect();
    let differing = others.iter().filter_map(|(name, pin)| difference(report, name, pin));
    let differing: Vec<_> = differing.collect();
    if differing.is_empty() {
        return Ok(Finding::ok(format!("{0} of {0} as pinned", others.len())));
    }
    Ok(Finding::fail(summary(&differing)).remedy(INSTALL_PINNED).evidence(differing))
}

/// Packages that lack what they need, as `pip check` finds them.
pub fn dependencies(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    let unmet = report.unmet.as_ref().ok_or(report.ending())?.as_ref().map_err(|why| &**why)?;
    let excludes = facts.excludes()?;
    let left_out = |unmet: &Unmet| {
        unmet.found.is_none() && excludes.contains(&requirements::normalised(&unmet.needs))
    };
    let others = unmet.iter().filter(|unmet| !is_torchvisions(unmet) && !left_out(unmet));
    let others: Vec<_> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        let count = report.packages.len();
        return Ok(Finding::ok(format!("{count} of {count} have what they need")));
    }
    Ok(Finding::warn(summary(&others)).remedy(SETTLE).evidence(others))
}

/// The first of several faults, and how many more there are.
fn summary(faults: &[String]) -> String {
    match faults {
        [first, rest @ ..] if !rest.is_empty() => format!("{first}; and {} more", rest.len()),
        _ => faults.concat(),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            judge(pins, &facts("numpy==1.26.4")).message,
            "numpy is 2.0.0, pinned is 1.26.4"
        );
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
        let unknown = r#"{"packages": {}, "unmet_unknown": "ModuleNotFoundError: No module named 'packaging'"}"#;
        assert_eq!(judge(dependencies, &with(unknown, TORCH, "")).status, Status::Error);
        assert_eq!(judge(dependencies, &with("", TORCH, "")).status, Status::Error);
        assert_eq!(judge(dependencies, &with(r#"{"unmet": []}"#, TORCH, "")).status, Status::Ok);
    }
}
