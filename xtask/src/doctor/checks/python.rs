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
    CUDA_WHEEL = by_hand("Pin torch together with all other packages, from an index with CUDA wheels.", &["cargo xtask full   # afterwards"]);
    SETTLE = by_hand("Change the versions in backend/requirements.txt so that they fit together.", &["cargo xtask full   # afterwards"]);
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
#[path = "../../../tests/unit/python_checks.rs"]
mod tests;
