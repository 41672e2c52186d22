//! A place in memory for trees, with a bystander in it.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use toolbox_store::tree;

/// A folder of this process with the folders `tree` and `victim`, and nothing else.
pub struct Place(PathBuf);

impl Place {
    /// The process's one.
    pub fn get(name: &str) -> &'static Self {
        static PLACE: OnceLock<Place> = OnceLock::new();
        PLACE.get_or_init(|| {
            let place = PathBuf::from(format!("/dev/shm/fuzz-{name}-{}", std::process::id()));
            tree::remove(&place).expect("the last one's place");
            fs::create_dir_all(place.join("victim")).expect("a place");
            fs::write(place.join("victim/file"), "untouched").expect("a bystander");
            Self(place)
        })
    }

    /// Where the tree is.
    pub fn root(&self) -> PathBuf {
        self.0.join("tree")
    }

    /// A new tree.
    pub fn tree(&self) -> OwnedFd {
        fs::create_dir(self.root()).expect("a tree");
        File::open(self.root()).expect("the tree").into()
    }

    /// A file without a name.
    pub fn scratch(&self) -> File {
        let path = self.0.join("scratch");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        fs::remove_file(&path).expect("the scratch file");
        file.expect("a scratch file")
    }

    /// Looks at all that is beside the tree, and removes the tree.
    pub fn check(&self) {
        assert_eq!(fs::read_dir(&self.0).expect("the place").count(), 2, "something beside the tree");
        assert_eq!(fs::read_dir(self.0.join("victim")).expect("the bystander").count(), 1);
        let file = self.0.join("victim/file");
        assert_eq!(fs::read(&file).expect("the bystander"), b"untouched");
        assert_eq!(file.metadata().expect("the bystander").nlink(), 1);
        tree::remove(&self.root()).expect("the tree can be removed");
    }
}
