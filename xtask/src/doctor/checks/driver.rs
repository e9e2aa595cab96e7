//! Which driver is new enough for which CUDA.
//!
//! From NVIDIA's "CUDA Compatibility" and the release notes of the CUDA toolkit.

/// A version, most significant number first.
pub type Version = Vec<u32>;

/// Reads `550.54.14`; none where a part is no number.
pub fn version(text: &str) -> Option<Version> {
    text.trim().split('.').map(|part| part.parse().ok()).collect()
}

/// The oldest driver on which what was built for any CUDA of this major version
/// runs (minor-version compatibility).
pub fn oldest(cuda_major: u32) -> Option<&'static str> {
    [(11, "450.80.02"), (12, "525.60.13"), (13, "580.65.06")]
        .into_iter()
        .find_map(|(major, driver)| (major == cuda_major).then_some(driver))
}

/// The newest CUDA that a branch of the driver knows; none for one that is
/// newer than this table.
fn newest_cuda(driver: &Version) -> Option<Version> {
    const BRANCHES: [(u32, [u32; 2]); 16] = [
        (580, [13, 0]),
        (575, [12, 9]),
        (570, [12, 8]),
        (565, [12, 7]),
        (560, [12, 6]),
        (555, [12, 5]),
        (550, [12, 4]),
        (545, [12, 3]),
        (535, [12, 2]),
        (530, [12, 1]),
        (525, [12, 0]),
        (520, [11, 8]),
        (515, [11, 7]),
        (510, [11, 6]),
        (470, [11, 4]),
        (450, [11, 0]),
    ];
    let branch = *driver.first()?;
    let known = BRANCHES.iter().find(|(first, _)| branch >= *first);
    match known {
        _ if branch >= 590 => None,
        Some((_, cuda)) => Some(cuda.to_vec()),
        None => Some(vec![10]),
    }
}

/// Whether a driver meets NVIDIA_REQUIRE_CUDA: alternatives with spaces between
/// them, each of conditions with commas between them. What depends on the card
/// (`brand`, `arch`) counts as met. NVIDIA's toolkit refuses to start a container
/// otherwise.
pub fn meets(requirement: &str, driver: &Version) -> bool {
    let condition = |text: &str| {
        let at = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
        let (name, rest) = text.split_at(at);
        let operator = rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let have = match name.trim() {
            "driver" => Some(driver.clone()),
            "cuda" => newest_cuda(driver),
            _ => None,
        };
        let (Some(have), Some(want)) = (have, version(&rest[operator.len()..])) else {
            return true;
        };
        // As precise as the condition: driver 535.1.2 meets `driver<=535`.
        let have = &have[..have.len().min(want.len())];
        match operator.trim() {
            ">=" => have >= &want[..],
            "<=" => have <= &want[..],
            ">" => have > &want[..],
            "<" => have < &want[..],
            "!=" => have != &want[..],
            _ => have == &want[..],
        }
    };
    let mut alternatives = requirement.split_whitespace();
    requirement.trim().is_empty() || alternatives.any(|all| all.split(',').all(condition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_demands_on_the_driver_are_understood() {
        let real =
            "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=geforce,driver>=535,driver<536";
        for (requirement, driver, want) in [
            (real, "550.54.14", true),
            (real, "470.57.02", true),
            (real, "535.104.05", true),
            (real, "525.60.13", false),
            (real, "595.80", true),
            (real, "390.48", false),
            ("cuda>=12.8", "550.54.14", false),
            ("driver<=535", "535.104.05", true),
            ("", "1", true),
        ] {
            assert_eq!(
                meets(requirement, &version(driver).unwrap()),
                want,
                "{requirement} {driver}"
            );
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("525.125.06") > version(oldest(12).unwrap()));
        assert!(version("525.60") < version(oldest(12).unwrap()));
        assert_eq!((version("x"), oldest(9)), (None, None));
    }
}
