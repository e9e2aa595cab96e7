//! Python and its packages in the service's container.

use crate::deploy::device::Device;
use crate::doctor::{Facts, Finding, Status, finding::Trouble};
use crate::image::requirements::{self, PATH};
use crate::python::report::{Report, Torch};

/// Packages with a check of their own.
const OWN: [&str; 2] = ["torch", "torchvision"];

pub fn interpreter(facts: &Facts) -> Finding {
    let report = match facts.inside() {
        Ok(report) => report,
        Err(trouble) => return Finding::unknown(&trouble),
    };
    match (&report.python, &report.cut_short) {
        (Some((version, path)), _) => {
            Finding::ok(version).evidence([format!("{path}, {}", place(facts))])
        }
        (None, Some(why)) if report.hangs => Finding::new(Status::Error, why),
        // Docker's own code: the container was not even started.
        (None, Some(why)) if report.code == 125 => Finding::new(Status::Error, why),
        (None, why) => {
            let why = why.clone().unwrap_or_else(|| "python3 said nothing".to_owned());
            Finding::fail(why)
                .remedy("The image lacks a working python3.", &["cargo xtask full"])
                .evidence([place(facts)])
        }
    }
}

/// Where the probe ran.
fn place(facts: &Facts) -> String {
    match facts.lasting() {
        Ok(Some(container)) => format!("in container {}", container.name),
        _ => "in a throw-away container of the image".to_owned(),
    }
}

/// What the probe says of torch; a finding where it says nothing.
pub fn known(facts: &Facts) -> Result<(&Report, &Torch), Box<Finding>> {
    let report = facts.torch().map_err(|trouble| Box::new(Finding::unknown(&trouble)))?;
    let finding = match &report.torch {
        Ok(torch) => return Ok((report, torch)),
        // Too slow is not yet broken.
        Err(why) if report.hangs => Finding::new(Status::Error, why).remedy(
            "See whether the machine's disk is busy, and try again.",
            &["cargo xtask doctor torch"],
        ),
        Err(why) => full(Finding::fail(why)),
    };
    Err(Box::new(finding))
}

pub fn torch(facts: &Facts) -> Finding {
    let pins = facts.pins();
    let pin = pins.as_ref().ok().and_then(|pins| pins.get("torch"));
    let finding = match (known(facts), pin) {
        (Err(finding), _) => *finding,
        (Ok((_, torch)), None) => Finding::ok(&torch.version),
        (Ok((report, torch)), Some(pin)) => match report.check(pin) {
            Ok(()) => Finding::ok(&torch.version),
            Err(error) => {
                let trouble = Trouble::from(error);
                Finding::fail(trouble.says)
                    .found(&torch.version)
                    .remedy("Install what is pinned.", &["cargo xtask full"])
                    .evidence(trouble.remedy.commands)
            }
        },
    };
    pin.map_or(finding.clone(), |pin| finding.expected(pin)).evidence([place(facts)])
}

/// torchvision's compiled operators fit one version of torch only.
pub fn torchvision(facts: &Facts) -> Finding {
    let (report, pins) = match (facts.inside(), facts.pins()) {
        (Ok(report), Ok(pins)) => (report, pins),
        (Err(trouble), _) | (_, Err(trouble)) => return Finding::unknown(&trouble),
    };
    let (installed, pin) = (report.packages.get("torchvision"), pins.get("torchvision"));
    let unmet = report.unmet.iter().flatten().flatten().find(|text| is_torchvisions(text));
    match (installed, pin) {
        (None, None) => Finding::skipped("neither pinned nor installed"),
        (None, Some(pin)) => full(Finding::fail(format!("missing, pinned is {pin}"))),
        (Some(there), Some(pin)) if !requirements::satisfies(there, pin) => {
            full(Finding::fail(format!("{there}, pinned is {pin}")).found(there).expected(pin))
        }
        (Some(there), _) => match unmet {
            Some(text) => full(Finding::fail(text).found(there)),
            None => Finding::ok(there),
        },
    }
}

fn is_torchvisions(unmet: &str) -> bool {
    unmet.starts_with("torchvision needs torch==")
}

fn full(finding: Finding) -> Finding {
    finding.remedy("Install what is pinned.", &["cargo xtask full"])
}

/// A wheel without CUDA runs anywhere and never on the GPU.
pub fn cuda_build(facts: &Facts) -> Finding {
    let (_, torch) = match known(facts) {
        Ok(known) => known,
        Err(finding) => return *finding,
    };
    match (&torch.cuda, facts.device()) {
        (Some(cuda), _) => Finding::ok(format!("for CUDA {cuda}")),
        (None, Ok(Device::Gpu)) => Finding::fail("this wheel of torch is built for the CPU alone")
            .found(&torch.version)
            .expected("a wheel for CUDA")
            .remedy(
                "Pin torch in the same install as all else, from an index with CUDA wheels.",
                &["cargo xtask full   # afterwards"],
            ),
        (None, _) => Finding::ok("for the CPU alone"),
    }
}

/// Step1X-3D calls it; torch has it from 2.4 on.
pub fn custom_fwd(facts: &Facts) -> Finding {
    match known(facts) {
        Err(finding) => *finding,
        Ok((_, torch)) if torch.custom_fwd => Finding::ok("torch.amp.custom_fwd is there"),
        Ok((_, torch)) => Finding::fail("torch.amp.custom_fwd is missing, which Step1X-3D calls")
            .found(&torch.version)
            .expected("torch 2.4 or newer")
            .remedy(&format!("Pin a newer torch in {PATH}."), &["cargo xtask full   # afterwards"]),
    }
}

/// Every exact pin against what is installed.
pub fn pins(facts: &Facts) -> Finding {
    let (report, pins) = match (facts.inside(), facts.pins()) {
        (Ok(report), Ok(pins)) => (report, pins),
        (Err(trouble), _) | (_, Err(trouble)) => return Finding::unknown(&trouble),
    };
    let others = || pins.iter().filter(|(name, _)| !OWN.contains(&&***name));
    let wrong: Vec<_> = others()
        .filter_map(|(name, pin)| match report.packages.get(name) {
            None => Some(format!("{name} is missing, pinned is {pin}")),
            Some(there) if !requirements::satisfies(there, pin) => {
                Some(format!("{name} is {there}, pinned is {pin}"))
            }
            Some(_) => None,
        })
        .collect();
    match &*wrong {
        [] => Finding::ok(format!("{0} of {0} as pinned", others().count())),
        [one] => full(Finding::fail(one)),
        [first, rest @ ..] => {
            full(Finding::fail(format!("{first}; and {} more differ", rest.len())))
        }
    }
    .evidence(wrong.iter().cloned())
}

/// Packages that lack what they need, as `pip check` finds them.
pub fn dependencies(facts: &Facts) -> Finding {
    let report = match facts.inside() {
        Ok(report) => report,
        Err(trouble) => return Finding::unknown(&trouble),
    };
    let unmet = match &report.unmet {
        Some(Ok(unmet)) => unmet,
        Some(Err(why)) => return Finding::new(Status::Error, format!("could not compare: {why}")),
        None => {
            let why = report.cut_short.as_deref().unwrap_or("the probe did not say");
            return Finding::new(Status::Error, format!("could not compare: {why}"));
        }
    };
    let excludes = match facts.excludes() {
        Ok(excludes) => excludes,
        Err(trouble) => return Finding::unknown(&trouble),
    };
    let is_other = |text: &&String| !is_torchvisions(text) && !is_left_out(text, excludes);
    let others: Vec<_> = unmet.iter().filter(is_other).cloned().collect();
    match &*others {
        [] => Finding::ok(format!("{0} of {0} have what they need", report.packages.len())),
        [first, rest @ ..] => {
            let more =
                if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
            Finding::warn(format!("{first}{more}"))
                .remedy(&format!("Settle it in {PATH}."), &["cargo xtask full   # afterwards"])
        }
    }
    .evidence(others.iter().cloned())
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
    use crate::process::Finished;

    fn report(stdout: &str) -> Report {
        Report::parse(&Finished { stdout: stdout.into(), ..Finished::default() })
    }

    fn with(inside: &str, torch: &str, requirements: &str) -> Facts {
        Facts::none()
            .with_inside(Ok(report(inside)))
            .with_torch(Ok(report(torch)))
            .with_pins(Ok(requirements::pins(requirements)))
            .with_forced(Ok(None))
            .with_container(Ok(None))
    }

    const TORCH: &str = r#"{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}"#;

    #[test]
    fn an_interpreter_is_there_or_not() {
        let fine = with(r#"{"python": "3.11.2", "executable": "/x", "packages": {}}"#, "", "");
        assert_eq!(interpreter(&fine).message, "3.11.2");
        assert_eq!(interpreter(&with("", "", "")).status, Status::Fail);
        assert_eq!(interpreter(&Facts::none().with_inside(Err("no answer"))).status, Status::Error);
    }

    #[test]
    fn torch_is_what_is_pinned_or_not() {
        for (said, requirements, status, message) in [
            (TORCH, "torch==2.5.1", Status::Ok, "2.5.1+cu124"),
            (TORCH, "", Status::Ok, "2.5.1+cu124"),
            (TORCH, "torch==2.6.0", Status::Fail, "torch is 2.5.1+cu124, pinned is 2.6.0"),
            (
                r#"{"error": "ModuleNotFoundError: No module named 'torch'"}"#,
                "torch==2.5.1",
                Status::Fail,
                "torch does not import: ModuleNotFoundError",
            ),
        ] {
            let finding = torch(&with("", said, requirements));
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
        let finding = torch(&Facts::none().with_torch(Ok(slow)));
        assert_eq!(finding.status, Status::Error);
        assert!(finding.message.contains("importing torch hangs"), "{finding:?}");
    }

    #[test]
    fn torchvision_fits_or_not() {
        let there = r#"{"packages": {"torchvision": "0.20.1"}, "unmet": []}"#;
        let unmet = r#"{"packages": {"torchvision": "0.20.1"}, "unmet": ["torchvision needs torch==2.5.1, found 2.6.0"]}"#;
        for (inside, requirements, status) in [
            (there, "torchvision==0.20.1", Status::Ok),
            (there, "torchvision==0.21.0", Status::Fail),
            (unmet, "", Status::Fail),
            ("{}", "torchvision==0.20.1", Status::Fail),
            ("{}", "", Status::Skipped),
        ] {
            assert_eq!(torchvision(&with(inside, TORCH, requirements)).status, status, "{inside}");
        }
        assert!(dependencies(&with(unmet, TORCH, "")).status == Status::Ok, "one cause, one fault");
    }

    #[test]
    fn a_cpu_build_is_a_fault_on_a_gpu_alone() {
        let cpu = r#"{"torch": "2.5.1+cpu", "cuda": null}"#;
        let on = |device, said| {
            let facts = Facts::none().with_torch(Ok(report(said))).with_forced(Ok(Some(device)));
            cuda_build(&facts).status
        };
        assert_eq!(on(Device::Gpu, cpu), Status::Fail);
        assert_eq!(on(Device::Cpu(""), cpu), Status::Ok);
        assert_eq!(on(Device::Gpu, TORCH), Status::Ok);
        assert_eq!(custom_fwd(&with("", TORCH, "")).status, Status::Ok);
        assert_eq!(custom_fwd(&with("", cpu, "")).status, Status::Fail);
    }

    #[test]
    fn every_pin_is_compared() {
        let inside = r#"{"packages": {"numpy": "2.0.0", "pillow": "10.3.0", "torch": "9"}, "unmet": ["a needs b>=2, found 1"]}"#;
        let facts = |requirements| with(inside, TORCH, requirements);
        assert_eq!(pins(&facts("torch==2.5.1\npillow==10.3.0")).message, "1 of 1 as pinned");
        assert_eq!(pins(&facts("numpy==1.26.4")).message, "numpy is 2.0.0, pinned is 1.26.4");
        let two = pins(&facts("numpy==1.26.4\neinops==0.8.0"));
        assert_eq!(two.message, "einops is missing, pinned is 0.8.0; and 1 more differ");
        assert_eq!(two.evidence.len(), 2);

        let finding = dependencies(&facts(""));
        assert_eq!((finding.status, &*finding.message), (Status::Warn, "a needs b>=2, found 1"));
        let left_out = r#"{"packages": {}, "unmet": ["a needs Foo_bar<3,>=2, found none"]}"#;
        let excluding = |names: &[&str]| {
            let excludes = names.iter().map(|name| (*name).to_owned()).collect();
            dependencies(&with(left_out, TORCH, "").with_excludes(Ok(excludes))).status
        };
        assert_eq!((excluding(&["foo-bar"]), excluding(&["foo"])), (Status::Ok, Status::Warn));
        let unknown = r#"{"packages": {}, "unmet_unknown": "ModuleNotFoundError: No module named 'packaging'"}"#;
        assert_eq!(dependencies(&with(unknown, TORCH, "")).status, Status::Error);
        assert_eq!(dependencies(&with("", TORCH, "")).status, Status::Error);
        assert_eq!(dependencies(&with(r#"{"unmet": []}"#, TORCH, "")).status, Status::Ok);
    }
}
