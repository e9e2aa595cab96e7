//! Removes what the new image supersedes, and only that: nothing is forced, and
//! nothing of other projects is removed.

use std::time::Duration;

use anyhow::Result;

use crate::docker::{CacheRecord, Docker, Image};
use crate::process::{self, Invocation};
use crate::ui;

/// What the removal of superseded images leads to.
pub(super) struct Prune {
    /// Some storage drivers take longer to count the build cache than `fast` itself
    /// takes.
    patience: Duration,
    /// The build cache before images were removed.
    before: Option<Vec<CacheRecord>>,
    /// How much disk that freed, in buildx's words, where it is known.
    freed: Option<String>,
}

impl Prune {
    pub fn new(patience: Duration) -> Prune {
        Prune { patience, before: None, freed: None }
    }

    /// Removes names of images, after a look at what the build cache holds of them.
    pub fn remove_images<'a>(
        &mut self,
        docker: &Docker,
        counts_cache: bool,
        mut commands: impl Iterator<Item = &'a Invocation>,
    ) -> Result<()> {
        if counts_cache && self.before.is_none() {
            self.before = docker.build_cache(self.patience).ok();
        }
        commands.try_for_each(|command| {
            let _ = docker.quietly(command);
            process::interrupted()
        })
    }

    /// Removes the records of the build cache that lost their image since.
    pub fn remove_cache(&mut self, docker: &Docker) -> Result<()> {
        if let Some(before) = self.before.take()
            && let Ok(after) = docker.build_cache(self.patience)
        {
            let ids = superseded(&before, &after);
            self.freed = match &*ids {
                [] => Some("0 B".to_owned()),
                ids => docker.free_build_cache(ids).ok(),
            };
        }
        process::interrupted()
    }

    /// Says what became of a superseded image, and how much disk that freed.
    pub fn report(&self, docker: &Docker, old: &Image) -> Result<()> {
        if docker.image(&old.id)?.is_some() {
            let id = ui::short_id(&old.id);
            say!("the superseded image {id} stays: another name or container uses it");
        } else if let Some(freed) = &self.freed {
            say!("removed the superseded image: {freed} of disk freed");
        } else {
            say!("removed the superseded image; BuildKit decides how long it keeps the layers");
        }
        Ok(())
    }
}

/// The records that lost their image from `before` to `after`.
fn superseded(before: &[CacheRecord], after: &[CacheRecord]) -> Vec<String> {
    let had_image = |id: &str| before.iter().any(|record| record.shared && record.id == id);
    let lost = after.iter().filter(|record| !record.shared && had_image(&record.id));
    lost.map(|record| record.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_superseded_image_held_goes() {
        let record = |id: &str, shared| CacheRecord { id: id.to_owned(), shared };
        let before = [record("base", true), record("install", true), record("others", false)];
        let after = [record("base", true), record("install", false), record("others", false)];
        assert_eq!(superseded(&before, &after), ["install"]);
        assert!(superseded(&before, &before).is_empty());
    }
}
