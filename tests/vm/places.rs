//! Where a project may lie.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;
use vmtest_tests::{Project, machine, target};

/// The command runs in the project's directory, and what it writes there is there on the host.
#[track_caller]
fn expect_project_works(project: &Project, cwd: &Path) {
    project.write("vmtest.toml", &target("t", "", "pwd -P; cat input; echo done >result"));
    project.write("input", "from the host\n");
    let run = project.vmtest(["--format", "json"]).cwd(cwd).leaves(["result"]).run();
    run.expect_status(0).expect_guest_text(&format!("{}\nfrom the host\n", project.dir().display()));
    assert_eq!(project.read("result"), "done\n");
}

#[test]
fn a_project_under_tmp() {
    let project = Project::under(Path::new("/tmp"), "");
    expect_project_works(&project, project.dir());
}

#[test]
fn a_project_under_run() {
    if !Uid::effective().is_root() {
        println!("only root can make a directory in /run: this test does nothing as another user");
        return;
    }
    let project = Project::under(Path::new("/run"), "");
    expect_project_works(&project, project.dir());
}

#[test]
fn a_project_under_home() {
    let home = if Uid::effective().is_root() {
        PathBuf::from("/home")
    } else {
        std::env::home_dir().expect("HOME is set")
    };
    let project = Project::under(&home, "");
    expect_project_works(&project, project.dir());
}

#[test]
fn a_project_behind_a_symbolic_link() {
    let project = Project::new("");
    let link = project.base().join("link");
    symlink(project.dir(), &link).unwrap();
    expect_project_works(&project, &link);
}

// U1
#[test]
fn a_project_whose_path_has_spaces_commas_and_equal_signs() {
    let parent = tempfile::Builder::new().prefix("a b,c=d,").tempdir().unwrap();
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let project = Project::under(parent.path(), "");
    expect_project_works(&project, project.dir());
}

/// The bytes of a path are nobody's to read: no shell, no list of QEMU's and no UTF-8 comes between.
// U1
#[test]
fn a_project_whose_path_has_line_breaks_quotes_dashes_and_bytes_that_are_no_text() {
    let parent =
        tempfile::Builder::new().prefix(OsStr::from_bytes(b"-a\n'\"$(b)`\xff\xfe,=")).tempdir().unwrap();
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let project = Project::under(parent.path(), "");
    project.write("vmtest.toml", &target("t", "", "cat input; cp input result; cat \"$PWD/input\""));
    project.write("input", "from the host\n");
    let run = project.vmtest(["--format", "json"]).leaves(["result"]).run();
    run.expect_status(0).expect_guest_text("from the host\nfrom the host\n");
    assert_eq!(project.read("result"), "from the host\n");
}

#[test]
fn a_project_in_a_git_worktree() {
    machine::needs("git", "git");
    let project = Project::new("");
    let repository = project.base().join("repository");
    let worktree = project.dir().join("worktree");
    let git = |dir: &Path, args: &[&str]| {
        let identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
        let done = Command::new("git").arg("-C").arg(dir).args(identity).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    std::fs::write(repository.join("tracked"), "").unwrap();
    git(&repository, &["add", "tracked"]);
    git(&repository, &["commit", "--quiet", "--message", "first"]);
    git(&repository, &["worktree", "add", "--quiet", worktree.to_str().unwrap()]);
    project.write("worktree/vmtest.toml", &target("t", "", "git status --porcelain && git log --format=%s"));
    let run = project.vmtest(["--format", "json"]).cwd(&worktree).run();
    run.expect_status(0).expect_guest_text("?? vmtest.toml\nfirst\n");
}
