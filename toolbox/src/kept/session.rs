//! From a name to a plan, and the box made where there is none.

use super::record::{FORMAT, Record};
use super::{BoxError, Boxes, Kept, words};
use crate::facts::{Facts, HOST, Image};
use crate::images::{self, Images};
use crate::namespace::Namespace;
use crate::options::Options;
use crate::plan::{self, IdMap, Ids, Plan};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use toolbox_store::{Held, Progress, Source};

/// What is asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The box.
    pub name: &'a str,
    /// The options, as far as the box is not there yet.
    pub options: &'a Options,
    /// The same as words, by [`words::given`].
    pub words: Vec<String>,
    /// Those that were typed, without what files say: a box that is there has to be so.
    pub typed: &'a Options,
    /// The same as words.
    pub typed_words: Vec<String>,
    /// The command; a shell without one.
    pub command: &'a [String],
    /// It is made when it is not there.
    pub may_make: bool,
    /// Nothing is made, only planned.
    pub only_plan: bool,
}

/// What can be run.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// The box; none when it would be made, and is only planned.
    pub kept: Option<Kept>,
    /// Its image is held.
    pub held: Option<Held>,
}

/// Finds a box, or makes it, and plans a session of it.
///
/// # Errors
/// See [`BoxError`]; what is asked for is so, or there is none.
pub fn prepare(
    asked: &Asked<'_>,
    images: &Images,
    facts: &Facts,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, BoxError> {
    let boxes = Boxes::open(images.store().root())?;
    // The image that a new box was made of, until it is held for the session.
    let mut made_of = None;
    loop {
        if let Some(kept) = boxes.find(asked.name)? {
            let prepared = again(asked, kept, images, facts, progress);
            drop(made_of);
            return prepared;
        }
        if !asked.may_make {
            return Err(BoxError::Unknown(asked.name.to_owned()));
        }
        let source = asked.options.from.as_ref().ok_or_else(|| BoxError::NoSource(asked.name.to_owned()))?;
        let (mut image, held) = image(images, source, progress)?;
        image.layer = Some(boxes.folder(asked.name));
        let plan = plan::decide(asked.options, asked.command, facts, &image)?;
        if asked.only_plan {
            return Ok(Prepared { plan, kept: None, held });
        }
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let record = Record {
            format: FORMAT,
            source: absolute(source),
            image: held.as_ref().and_then(|held| held.image.id.clone()),
            options: asked.words.clone(),
            uid: facts.uid,
            user_marks: plan.namespaces.contains(&Namespace::User),
            ids: plan.ids,
            created: created.map_or(0, |age| age.as_secs()),
        };
        // Whoever made it: the next round finds it, and looks whether it is as asked for.
        boxes.make(asked.name, &record)?;
        made_of = Some(held);
    }
}

/// A session of a box that is there.
fn again(
    asked: &Asked<'_>,
    kept: Kept,
    images: &Images,
    facts: &Facts,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, BoxError> {
    let name = || kept.name.clone();
    let record = &kept.record;
    let mut differences = words::differences(&record.options, &asked.typed_words);
    if let Some(source) = asked.typed.from.as_ref().map(|source| absolute(source))
        && source != record.source
    {
        differences.insert(0, format!("--from {source} (it was made with --from {})", record.source));
    }
    if !differences.is_empty() {
        return Err(BoxError::Differs { name: name(), differences });
    }
    if record.uid != facts.uid {
        return Err(BoxError::Owner { name: name(), was: record.uid, is: facts.uid });
    }
    let (mut image, held) = image_of(&kept, images, progress)?;
    image.layer = Some(kept.folder.clone());
    let mut options = words::parse(&record.options).map_err(|error| BoxError::Options {
        name: name(),
        text: error.render().to_string().trim().to_owned(),
    })?;
    options.keep = Some(name());
    let plan = plan::decide(&options, asked.command, facts, &image)?;
    if let Some(lost) = lost(record.ids.as_ref(), plan.ids.as_ref()) {
        return Err(BoxError::IdsGone { name: name(), first: lost.outside, count: lost.count });
    }
    Ok(Prepared { plan, kept: Some(kept), held })
}

/// The image of a source.
fn image(
    images: &Images,
    source: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Image, Option<Held>), BoxError> {
    if let Some(found) = images::in_place(source) {
        return Ok((found?, None));
    }
    let (image, held) = images::image(images, source, progress)?;
    Ok((image, Some(held)))
}

/// The image of a box: the very one, whatever has its name by now.
///
/// # Errors
/// [`BoxError::ImageGone`] when it is neither in the store nor what its source gives.
pub fn image_of(
    kept: &Kept,
    images: &Images,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Image, Option<Held>), BoxError> {
    let source = &kept.record.source;
    let Some(id) = &kept.record.image else { return image(images, source, progress) };
    if images.store().hold(id).map_err(images::ImageError::from)?.is_some() {
        let (image, held) = images::image(images, id.as_str(), progress)?;
        return Ok((Image { name: source.clone(), ..image }, Some(held)));
    }
    let gone = |cause| BoxError::ImageGone {
        name: kept.name.clone(),
        id: id.clone(),
        source_text: source.clone(),
        cause,
    };
    match images::image(images, source, progress) {
        Ok((image, held)) if held.image.id.as_ref() == Some(id) => Ok((image, Some(held))),
        Ok(_) => Err(gone(None)),
        Err(error) => Err(gone(Some(format!("does not give it: {error}")))),
    }
}

/// A source that means the same in every working folder.
fn absolute(text: &str) -> String {
    let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let plain = Path::new(text);
    if text == HOST || (!text.contains(['/', ':']) && !plain.exists()) {
        return text.to_owned();
    }
    let source = match Source::parse(text).and_then(Source::detect) {
        Ok(Source::Directory(path)) => Source::Directory(path.canonicalize().unwrap_or(path)),
        Ok(Source::Tar(path)) => Source::Tar(whole(path)),
        Ok(Source::Oci(path, tag)) => Source::Oci(whole(path), tag),
        Ok(Source::DockerArchive(path, tag)) => Source::DockerArchive(whole(path), tag),
        Ok(Source::Ext4(path)) => Source::Ext4(whole(path)),
        Ok(Source::Disk(path, part)) => Source::Disk(whole(path), part),
        Ok(Source::Debs(paths)) => Source::Debs(paths.into_iter().map(whole).collect()),
        _ => return text.to_owned(),
    };
    source.to_string()
}

/// The first ids that a layer's files may have and that are not mapped now.
fn lost(had: Option<&Ids>, have: Option<&Ids>) -> Option<IdMap> {
    let had = had?;
    let none = Vec::new();
    let of = |had: &[IdMap], have: &[IdMap]| had.iter().copied().find(|map| !is_mapped(*map, have));
    let (users, groups) = have.map_or((&none, &none), |ids| (&ids.users, &ids.groups));
    of(&had.users, users).or_else(|| of(&had.groups, groups))
}

fn is_mapped(map: IdMap, maps: &[IdMap]) -> bool {
    let last = |map: IdMap| u64::from(map.inside) + u64::from(map.count);
    maps.iter().any(|other| {
        let shift = |map: IdMap| i64::from(map.outside) - i64::from(map.inside);
        shift(*other) == shift(map) && other.inside <= map.inside && last(map) <= last(*other)
    })
}

/// The ids by which a box's files are reached: those of now when they have all that were, else those that were.
pub fn ids(record: &Record, facts: &Facts) -> Option<Ids> {
    if facts.uid == 0 {
        return None;
    }
    let now = plan::user_ids(facts);
    if lost(record.ids.as_ref(), Some(&now)).is_none() { Some(now) } else { record.ids.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(maps: &[(u32, u32, u32)]) -> Ids {
        let maps: Vec<IdMap> =
            maps.iter().map(|&(inside, outside, count)| IdMap { inside, outside, count }).collect();
        Ids { users: maps.clone(), groups: maps, by_tools: false }
    }

    #[test]
    fn ids_that_are_gone_are_found() {
        let (single, range) = (ids(&[(0, 1000, 1)]), ids(&[(0, 1000, 1), (1, 100_000, 65_536)]));
        let moved = ids(&[(0, 1000, 1), (1, 200_000, 65_536)]);
        let less = ids(&[(0, 1000, 1), (1, 100_000, 1000)]);
        assert_eq!(lost(Some(&single), Some(&range)), None);
        assert_eq!(lost(None, Some(&range)), None);
        for other in [&single, &moved, &less] {
            assert_eq!(lost(Some(&range), Some(other)).map(|map| map.outside), Some(100_000));
        }
        assert_eq!(lost(Some(&single), None).map(|map| map.outside), Some(1000));
    }

    #[test]
    fn sources_mean_the_same_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(absolute(text), format!("dir:{text}"));
        assert_eq!(
            absolute(&format!("{text}/../{}", path.file_name().unwrap().to_str().unwrap())),
            absolute(text)
        );
        assert!(absolute("tar:x.tar").starts_with("tar:/"));
        for same in ["host", "a-name-of-the-store", "docker.io/library/debian:12"] {
            assert_eq!(absolute(same), same);
        }
    }
}
