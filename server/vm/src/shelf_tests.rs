use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A folder of entries of 100 bytes each.
struct Folder {
    dir: tempfile::TempDir,
    shelf: Shelf,
}

impl Folder {
    fn new(room: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path().join("shelf"), room);
        Self { dir, shelf }
    }

    async fn claim(&self, name: &str) -> Claim {
        take_turn(&self.shelf, name).await.unwrap()
    }

    async fn add(&self, name: &str) -> Held {
        let claim = self.claim(name).await;
        let path = claim.staging().unwrap().join("file");
        fs::write(&path, name).unwrap();
        let about = About {
            name: name.to_owned(),
            what: String::new(),
            file: "file".to_owned(),
            identity: Identity::of(&File::open(&path).unwrap()).unwrap(),
            origin: None,
            bytes: 100,
        };
        claim.publish(&about).unwrap()
    }

    /// Makes an entry look as if it had not been used for so long.
    fn age(&self, name: &str, age: Duration) {
        let file = private::open(&self.shelf.description(&Key::of([name]))).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn names(&self) -> Vec<String> {
        self.shelf.list().into_iter().map(|item| item.name).collect()
    }
}

/// The right to make an entry, whether or not there is one.
async fn take_turn(shelf: &Shelf, name: &str) -> io::Result<Claim> {
    match shelf.take_turn(&Key::of([name]), |_| false, &CancellationToken::new(), |_| ()).await? {
        Turn::Make(claim) => Ok(claim),
        Turn::Made(held) => panic!("{held:?}"),
    }
}

#[tokio::test]
async fn what_was_used_the_longest_time_ago_goes_first_but_nothing_that_is_in_use() {
    let mut folder = Folder::new(1000);
    drop(folder.add("old").await);
    let in_use = folder.add("in use").await;
    drop(folder.add("newer").await);
    folder.age("old", Duration::from_secs(30));
    folder.age("in use", Duration::from_secs(40));
    folder.age("newer", Duration::from_secs(20));
    folder.shelf.room = 250;
    drop(folder.add("newest").await);
    assert_eq!(folder.names(), ["newest", "newer", "in use"]);
    drop(in_use);
}

#[tokio::test]
async fn clearing_removes_everything_but_what_is_in_use() {
    let folder = Folder::new(1000);
    let in_use = folder.add("in use").await;
    drop(folder.add("other").await);
    assert_eq!(folder.shelf.clear().unwrap(), Cleared { bytes: 100, in_use: 1 });
    assert_eq!(folder.names(), ["in use"]);
    assert!(in_use.path.exists());
    drop(in_use);
    folder.shelf.clear().unwrap();
    assert_eq!(fs::read_dir(folder.shelf.folder()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_process_that_died_left_of_an_entry_is_none() {
    let folder = Folder::new(1000);
    let claim = folder.claim("a").await;
    fs::write(claim.staging().unwrap().join("half"), "x").unwrap();
    // Without the description, as when it died right before the end.
    fs::rename(folder.shelf.staging(&claim.key), folder.shelf.entry(&claim.key)).unwrap();
    drop(claim);
    assert!(folder.shelf.find(&Key::of(["a"])).is_none());
    let held = folder.add("a").await;
    assert_eq!(fs::read_dir(held.path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_download_that_nobody_went_on_with_is_given_up() {
    let folder = Folder::new(1000);
    for (name, age) in [("old", OLD * 2), ("new", OLD / 2)] {
        let (part, description) = folder.claim(name).await.part_files();
        fs::write(description, format!("{{\"name\":\"{name}\"}}")).unwrap();
        let part = File::create(part).unwrap();
        part.set_modified(SystemTime::now() - age).unwrap();
    }
    drop(folder.add("a").await);
    assert_eq!(folder.names(), ["a", "new"]);
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_not_used() {
    let folder = Folder::new(1000);
    drop(folder.add("a").await);
    fs::set_permissions(folder.shelf.folder(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(folder.shelf.find(&Key::of(["a"])).is_none());
    assert_eq!(folder.names(), [""; 0]);
    assert!(take_turn(&folder.shelf, "b").await.unwrap_err().to_string().contains("not this user's alone"));
    drop(folder.dir);
}

#[test]
fn keys_depend_on_every_part_and_on_where_it_ends() {
    let keys = [Key::of(["ab", "c"]), Key::of(["a", "bc"]), Key::of(["ab", "c", ""])];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3);
}
