//! Operations about the names of images: which are kept for a rollback, which move,
//! and which go.

use super::{Planner, SUPERSEDED_LAYERS};
use crate::deploy::decide::Action;
use crate::deploy::observe::Observation;
use crate::deploy::operation::Phase::{Finish, Prepare};
use crate::deploy::operation::{Method, Operation, When};
use crate::deploy::situation::{ContainerState, Drift};
use crate::docker::commands::{remove_images, tag};
use crate::image::provenance;
use crate::process::Invocation;

impl Planner<'_> {
    /// Names the image to roll back to: the one that serves. Where none does, one
    /// that was kept earlier stays.
    pub(super) fn keep_previous(&self) -> Option<Operation> {
        let situation = &self.seen.situation;
        let serves = situation.container == ContainerState::Serving;
        let keep = self.seen.served()?;
        let (name, does) = (&self.previous, "keep the image that served, for a rollback");
        let mut commands = vec![tag(&keep.id, name)];
        let mut undo = vec![tag_or_remove(self.seen.id_of(name), name)];
        if let Some(aside) = self.aside() {
            commands.insert(0, tag(name, &aside));
            undo.push(remove_images([aside]));
        }
        (serves || !situation.has_previous).then(|| {
            Prepare
                .operation(Method::Tag, does, "the new one may not serve", commands)
                .undo(undo)
                .when(When::Replaces(keep.id.clone()))
        })
    }

    /// The name of the previous image, where there is one by the end of the swap.
    pub(super) fn kept_previous(&self) -> Option<String> {
        (self.keeps_anew() || self.seen.situation.has_previous).then(|| self.previous.clone())
    }

    fn keeps_anew(&self) -> bool {
        let swaps = self.action.builds() || self.seen.situation.drift == Drift::Image;
        swaps && self.keep_previous().is_some()
    }

    /// A temporary tag for the image that was kept before that one, until it is removed.
    fn aside(&self) -> Option<String> {
        let kept = self.seen.id_of(&self.previous)?;
        let moves = self.seen.served().is_some_and(|served| served.id != kept);
        moves.then(|| format!("{}-aside", self.temporary))
    }

    /// The images to roll back to that are no longer needed once the new one answers. Without
    /// a healthcheck it may die yet, so that the way back stays open until the next swap.
    pub(super) fn spent_previous(&self) -> impl Iterator<Item = String> {
        let kept = self.kept_previous().filter(|_| self.seen.has_healthcheck());
        let aside = self.aside().filter(|_| self.keeps_anew());
        kept.into_iter().chain(aside)
    }

    /// Names an image for inspection. An older one goes once that is done.
    pub(super) fn keep_failed(&self, image: &str) -> Operation {
        let failed = provenance::failed(&self.seen.project.name);
        let older = format!("{}-older", self.temporary);
        let commands = match self.seen.id_of(&failed) {
            None => vec![tag(image, &failed)],
            Some(_) => vec![tag(&failed, &older), tag(image, &failed), remove_images([&older])],
        };
        let cause = "it shows what is wrong with it";
        Prepare.operation(Method::Keep, "keep the image that failed", cause, commands)
    }

    /// Names an image that has none but the service's, which move to the new one: a
    /// name can be taken back, and removed later.
    pub(super) fn keep_nameless(&self) -> Option<Operation> {
        let Observation { image, running, service_names, .. } = self.seen;
        let image = image.as_ref()?;
        let moves = |tag: &String| service_names.iter().any(|(name, _)| name == tag);
        let served = running.as_ref().is_none_or(|served| served.id == image.id);
        let is_kept = served && self.keep_previous().is_some();
        (!is_kept && image.repo_tags.iter().all(moves)).then(|| {
            let (does, cause) =
                ("keep a tag on the image that loses its own", "it is removed later");
            Prepare
                .operation(Method::Tag, does, cause, vec![tag(&image.id, &self.nameless())])
                .undo(vec![remove_images([self.nameless()])])
                .when(When::Replaces(image.id.clone()))
        })
    }

    fn nameless(&self) -> String {
        format!("{}-nameless", self.temporary)
    }

    /// Temporary tags that killed runs left.
    pub(super) fn leftovers(&self) -> impl Iterator<Item = String> + '_ {
        let names = self.seen.own_names.iter().map(|named| named.name.clone());
        names.filter(|name| provenance::is_temporary(name))
    }

    pub(super) fn remove(
        &self,
        method: Method,
        names: impl Iterator<Item = String>,
    ) -> Option<Operation> {
        let names: Vec<String> = names.collect();
        let does = "remove superseded tags; an image goes with its last tag";
        let cause = "the service no longer needs them";
        (!names.is_empty())
            .then(|| Finish.operation(method, does, cause, vec![remove_images(names)]))
    }

    /// Removes all own names but `current`, and what they alone held.
    pub(super) fn remove_superseded(&self, current: &[Option<String>]) -> Vec<Operation> {
        let (engine, served) = (&self.seen.engine, self.seen.served());
        let mut operations = Vec::new();
        if let (Some(served), Action::Full) = (served, self.action) {
            let does = "compare the packages with those of the image that served";
            let cause = "unpinned ones may have changed";
            operations.push(
                Finish
                    .operation(Method::CompareVersions, does, cause, vec![self.probe(&served.id)])
                    .when(When::Replaces(served.id.clone())),
            );
        }
        let own = || self.seen.own_names.iter().map(|named| named.name.clone());
        let is_current = |name: &String| current.contains(&Some(name.clone()));
        // An image that may have to come back keeps what tells of its origin.
        let comes_back = |name: &String| {
            let id = self.seen.id_of(name.trim_end_matches(".record"));
            !self.seen.has_healthcheck() && id.is_some() && id == served.map(|image| &*image.id)
        };
        let goes = |name: &String| *name != self.previous && !is_current(name);
        let names = own().filter(|name| goes(name) && !comes_back(name));
        let nameless = self.keep_nameless().map(|_| self.nameless());
        operations
            .extend(self.remove(Method::Prune, names.chain(self.spent_previous()).chain(nameless)));
        // Where the sources changed meanwhile, the new image does not have this name.
        let stale = self.remove(Method::Prune, own().filter(is_current));
        operations.extend(stale.map(|remove| remove.when(When::SourcesChanged)));
        let Some(served) = served else { return operations };
        if engine.as_ref().is_some_and(|engine| !engine.has_containerd_store()) {
            let does = "remove build cache that only superseded images used";
            let commands = vec![self.seen.docker.prune_build_cache(SUPERSEDED_LAYERS)];
            operations.push(
                Finish
                    .operation(
                        Method::PruneCache,
                        does,
                        "left out if counting it takes long",
                        commands,
                    )
                    .when(When::Replaces(served.id.clone())),
            );
        }
        operations
    }
}

/// Gives an image names; each comes with the id it stands for now.
pub(super) fn promote(image: &str, names: &[(String, Option<String>)]) -> Operation {
    let commands = names.iter().map(|(name, _)| tag(image, name)).collect();
    let undo = names.iter().map(|(name, id)| tag_or_remove(id.as_deref(), name)).collect();
    let cause = "Compose starts the image with these names";
    Prepare
        .operation(Method::Tag, "give the image the service's names", cause, commands)
        .undo(undo)
        .fails("naming the new image failed; what served before still does", &[])
}

/// Lets a name stand for an image again, or for nothing.
pub(super) fn tag_or_remove(id: Option<&str>, name: &str) -> Invocation {
    id.map_or_else(|| remove_images([name]), |id| tag(id, name))
}
