//! Python and its packages in the service's container.

use crate::deploy::device::Device;
use crate::doctor::{Facts, Finding, Judgement, Trouble};
use crate::error::Remedy;
use crate::image::requirements::{self, PATH, mismatch, satisfies};
use crate::python::{Report, Torch};

/// Packages with a check of their own.
const OWN: [&str; 2] = ["torch", "torchvision"];

/// What a requirement of torchvision that does not hold begins with.
const TORCHVISIONS: &str = "torchvision needs torch==";

const FULL_AFTERWARDS: &str = "cargo xtask full   # afterwards";

pub fn interpreter(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    if let Some((version, path)) = &report.python {
        return Ok(Finding::ok(version).evidence([format!("{path}, {}", place(facts))]));
    }
    let why = report.cut_short.as_deref().unwrap_or("python3 said nothing");
    // With docker's own code 125 the container was not even started.
    if report.hangs || report.code == 125 {
        return Err(why.into());
    }
    Ok(Finding::fail(why)
        .remedy("The image lacks a working python3.", &["cargo xtask full"])
        .evidence([place(facts)]))
}

/// Where the probe ran.
fn place(facts: &Facts) -> String {
    match facts.lasting() {
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
    let finding = match (&report.torch, pin) {
        // Too slow is not yet broken.
        (Err(why), _) if report.hangs => Finding::from(Trouble {
            remedy: Remedy::new(
                "See whether the machine's disk is busy, and try again.",
                &["cargo xtask doctor torch"],
            ),
            ..Trouble::from(&**why)
        }),
        (Err(why), _) => install_pinned(Finding::fail(why)),
        (Ok(torch), Some(pin)) => match report.check(Some(pin)).map_err(Trouble::from) {
            Err(trouble) => install_pinned(Finding::fail(trouble.says))
                .found(&torch.version)
                .evidence([trouble.remedy.text]),
            // Step1X-3D calls it; torch has it from 2.4 on.
            Ok(()) if !torch.custom_fwd => Finding::fail("Step1X-3D needs torch 2.4 or newer")
                .found(&torch.version)
                .by_hand(&format!("Pin a newer torch in {PATH}."), &[FULL_AFTERWARDS]),
            Ok(()) => Finding::ok(&torch.version),
        },
        (Ok(torch), None) => Finding::ok(&torch.version),
    };
    Ok(Finding { expected: pin.cloned(), ..finding }.evidence([place(facts)]))
}

/// torchvision's compiled operators fit one version of torch only.
pub fn torchvision(facts: &Facts) -> Judgement {
    const NAME: &str = "torchvision";
    let (report, pins) = (facts.inside()?, facts.pins()?);
    let unmet = report.unmet.iter().flatten().flatten().find(|text| text.starts_with(TORCHVISIONS));
    Ok(match (report.packages.get(NAME), pins.get(NAME)) {
        (None, None) => Finding::skipped("neither pinned nor installed"),
        (None, Some(pin)) => install_pinned(Finding::fail(mismatch(NAME, None, pin)).expected(pin)),
        (Some(there), Some(pin)) if !satisfies(there, pin) => install_pinned(
            Finding::fail(mismatch(NAME, Some(there), pin)).found(there).expected(pin),
        ),
        (Some(there), _) => match unmet {
            Some(text) => install_pinned(Finding::fail(text).found(there)),
            None => Finding::ok(there),
        },
    })
}

fn install_pinned(finding: Finding) -> Finding {
    finding.remedy("Install what is pinned.", &["cargo xtask full"])
}

/// A wheel without CUDA runs anywhere and never on the GPU.
pub fn cuda_build(facts: &Facts) -> Judgement {
    let (_, torch) = imported(facts)?;
    Ok(match (&torch.cuda, facts.device()) {
        (Some(cuda), _) => Finding::ok(format!("for CUDA {cuda}")),
        (None, Ok(Device::Gpu)) => Finding::fail("this wheel of torch is built for the CPU alone")
            .found(&torch.version)
            .expected("a wheel for CUDA")
            .by_hand(
                "Pin torch in the same install as all else, from an index with CUDA wheels.",
                &[FULL_AFTERWARDS],
            ),
        (None, _) => Finding::ok("for the CPU alone"),
    })
}

/// Every exact pin against what is installed.
pub fn pins(facts: &Facts) -> Judgement {
    let (report, pins) = (facts.inside()?, facts.pins()?);
    let others: Vec<_> = pins.iter().filter(|(name, _)| !OWN.contains(&&***name)).collect();
    let wrong = others.iter().filter_map(|(name, pin)| {
        let there = report.packages.get(*name);
        let fits = there.is_some_and(|there| satisfies(there, pin));
        if fits { None } else { Some(mismatch(name, there.map(String::as_str), pin)) }
    });
    let wrong: Vec<_> = wrong.collect();
    let finding = match &*wrong {
        [] => Finding::ok(format!("{0} of {0} as pinned", others.len())),
        [one] => install_pinned(Finding::fail(one)),
        [first, rest @ ..] => {
            install_pinned(Finding::fail(format!("{first}; and {} more differ", rest.len())))
        }
    };
    Ok(finding.evidence(wrong))
}

/// Packages that lack what they need, as `pip check` finds them.
pub fn dependencies(facts: &Facts) -> Judgement {
    let report = facts.inside()?;
    let unmet = match &report.unmet {
        Some(Ok(unmet)) => unmet,
        Some(Err(why)) => return Err((&**why).into()),
        None => return Err(report.cut_short.as_deref().unwrap_or("the probe did not say").into()),
    };
    let excludes = facts.excludes()?;
    let is_other = |text: &&String| !text.starts_with(TORCHVISIONS) && !is_left_out(text, excludes);
    let others: Vec<_> = unmet.iter().filter(is_other).cloned().collect();
    let finding = match &*others {
        [] => Finding::ok(format!("{0} of {0} have what they need", report.packages.len())),
        [one] => Finding::warn(one),
        [first, rest @ ..] => Finding::warn(format!("{first}; and {} more", rest.len())),
    };
    Ok(match others.is_empty() {
        true => finding,
        false => finding.by_hand(&format!("Settle it in {PATH}."), &[FULL_AFTERWARDS]),
    }
    .evidence(others))
}

/// Whether what is missing is missing on purpose.
fn is_left_out(unmet: &str, excludes: &[String]) -> bool {
    let missing = unmet.strip_suffix(", found none").and_then(|text| text.split_once(" needs "));
    missing.is_some_and(|(_, needs)| {
        let name = needs.split(['=', '<', '>', '!', '~', ',']).next().unwrap_or_default();
        excludes.contains(&requirements::normalised(name))
    })
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
        let unmet = r#"{"packages": {"torchvision": "0.20.1"}, "unmet": ["torchvision needs torch==2.5.1, found 2.6.0"]}"#;
        let (full, pin) = (Some("cargo xtask full"), Some("0.21.0"));
        for (inside, requirements, status, message, expected, step) in [
            (there, "torchvision==0.20.1", Status::Ok, "0.20.1", None, None),
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
        let inside = r#"{"packages": {"numpy": "2.0.0", "pillow": "10.3.0", "torch": "9"}, "unmet": ["a needs b>=2, found 1"]}"#;
        let facts = |requirements| with(inside, TORCH, requirements);
        assert_eq!(judge(pins, &facts("torch==2.5.1\npillow==10.3.0")).message, "1 of 1 as pinned");
        assert_eq!(
            judge(pins, &facts("numpy==1.26.4")).message,
            "numpy is 2.0.0, pinned is 1.26.4"
        );
        let two = judge(pins, &facts("numpy==1.26.4\neinops==0.8.0"));
        assert_eq!(two.message, "einops is missing, pinned is 0.8.0; and 1 more differ");
        assert_eq!(two.evidence.len(), 2);

        let finding = judge(dependencies, &facts(""));
        assert_eq!((finding.status, &*finding.message), (Status::Warn, "a needs b>=2, found 1"));
        let left_out = r#"{"packages": {}, "unmet": ["a needs Foo_bar<3,>=2, found none"]}"#;
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
