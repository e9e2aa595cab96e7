//! What a dry run prints beside what docker was called with.

/// Commands of docker that change nothing that outlives them.
const QUESTIONS: [&str; 11] = [
    "info ",
    "version ",
    "ps ",
    "container inspect ",
    "image inspect ",
    "image ls ",
    "context inspect ",
    "buildx du ",
    "buildx version",
    "logs ",
    "exec ",
];

/// The commands of a log, a line each, that change something.
pub fn called(log: &str) -> Vec<String> {
    let is_question = |line: &&str| {
        QUESTIONS.iter().any(|question| line.starts_with(question))
            || line.starts_with("compose")
                && [" config ", " version", " --dry-run ", " exec "].iter().any(|w| format!("{line} ").contains(w))
            // A look at the engine's machine.
            || line.contains(" -c cat /sys/bus/pci/")
    };
    log.lines().filter(|line| !is_question(line)).map(stable).collect()
}

/// The commands that a dry run printed. Of those under a condition, the ones count
/// whose condition held in `run`.
pub fn printed(dry_run: &str, run: &str) -> Vec<String> {
    let identical = run.contains("build produced an identical image");
    let changed = run.contains("the sources changed during the build");
    let mut holds = true;
    let mut commands = Vec::new();
    for line in dry_run.lines() {
        if !line.starts_with(' ') {
            holds = match line.rsplit_once(", ") {
                // Only an image with another id is kept as it is.
                Some((_, "if the build produces an identical image")) => false,
                Some((_, "if the image is another than before")) => !identical,
                Some((_, "unless the sources change during the build")) => !changed,
                Some((_, "if the sources change during the build")) => changed,
                _ => true,
            };
        } else if let Some(command) = line.strip_prefix("  would run: docker ")
            && holds
        {
            let command = command.split("   # stdin").next().unwrap_or_default();
            commands.push(stable(&command.replace('\'', "")));
        }
    }
    commands
}

/// Without what differs from run to run: digests and ids, the number of a throw-away
/// container, and the text of a record.
fn stable(line: &str) -> String {
    let line = line.split("LABEL xtask.record").next().unwrap_or_default().to_owned()
        + line.split("LABEL xtask.record").nth(1).map_or("", |_| "RECORD");
    let line = match line.split_once("--filter id=") {
        Some((start, _)) => format!("{start}--filter id=LAYERS"),
        None => line,
    };
    let is_digest = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if word.starts_with("xtask-") && word.matches('-').count() == 2 {
            *word = "THROW_AWAY".to_owned();
        }
        let parts: Vec<_> = word
            .split_inclusive([':', '-', '.'])
            .map(|part| {
                let bare = part.trim_end_matches([':', '-', '.']);
                if is_digest(bare) { part.replace(bare, "ID") } else { part.to_owned() }
            })
            .collect();
        *word = parts.concat();
    }
    words.join(" ")
}
