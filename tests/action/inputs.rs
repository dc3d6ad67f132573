//! What the action says and does before any machine starts.

use crate::runner::{Job, Step};

/// The last step of a job whose run is refused.
fn refused(toml: &str, inputs: &[(&str, &str)]) -> Step {
    let mut job = Job::new(toml, inputs);
    let last = job.run(&[]).pop().unwrap();
    assert_eq!(last.name, "Run");
    last.outcome.as_ref().unwrap().expect_status(78);
    last
}

#[test]
fn inputs_that_do_not_go_together_are_refused_with_what_to_do() {
    let kernel = ("kernel", "k");
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "give `command`"),
        (&[kernel, ("command", "true"), ("filter", "a")], "`filter` and `partition` choose"),
        (&[("config", "vmtest.toml"), kernel], "leave out `kernel`"),
        (&[("config", "vmtest.toml"), ("kernel_package", "k")], "leave out `kernel_package`"),
        (&[("config", "vmtest.toml"), ("uefi", "true")], "leave out `uefi`"),
        (&[kernel, ("command", "true"), ("env", "A=b\nno assignment")], "`env` has a line"),
    ];
    for (inputs, message) in cases {
        let step = refused("", inputs);
        let run = step.outcome.unwrap();
        run.expect_text("::error title=vmtest::").expect_text(message);
    }
}

#[test]
fn what_vmtest_finds_wrong_is_said_before_anything_boots() {
    let both = [("kernel", "k"), ("image", "i"), ("command", "true")];
    let step = refused("", &both);
    step.outcome.unwrap().expect_error_text("image");
    let missing = [("kernel", "./none"), ("command", "true")];
    refused("", &missing).outcome.unwrap().expect_error_text("none");
}

#[test]
fn what_an_untrusted_change_must_not_have_is_refused() {
    let url = [("kernel_url", "https://example.org/k"), ("command", "true"), ("untrusted", "true")];
    refused("", &url).outcome.unwrap().expect_error_text("makes this machine ask any server");
}

#[test]
fn a_kernel_may_be_a_url_as_in_the_known_action() {
    // A scheme that vmtest refuses: the message tells which key got it.
    for (input, key) in [("kernel", "kernel_url"), ("kernel_url", "kernel_url"), ("image", "image_url")] {
        let step = refused("", &[(input, "gopher://example.org/x"), ("command", "true")]);
        let run = step.outcome.unwrap();
        run.check(run.error_text().contains(key), "the URL is not taken for one");
    }
}

#[test]
fn downloads_are_cached_by_what_is_asked_for_and_kept_guests_never() {
    let key = |toml: &str, inputs: &[(&str, &str)]| {
        let steps = Job::new(toml, inputs).run(&[]);
        for step in &steps {
            assert!(!step.with.to_string().contains("snapshot"), "{step:?}");
        }
        let cache = steps.into_iter().find(|step| step.name == "Cache downloads")?;
        assert!(cache.with["path"].as_str().unwrap().ends_with("/vmtest/downloads"), "{cache:?}");
        Some(cache.with["key"].as_str().unwrap().to_owned())
    };
    let url = |url| [("kernel_url", url), ("command", "")];
    let first = key("", &url("https://example.org/a"));
    assert!(first.is_some());
    assert_eq!(first, key("", &url("https://example.org/a")));
    assert_ne!(first, key("", &url("https://example.org/b")));
    assert_eq!(key("", &[("kernel", "./bzImage"), ("command", "")]), None);
    let of_file = |toml| key(toml, &[("config", "vmtest.toml"), ("kernel", "refused")]);
    assert!(of_file("# a").is_some());
    assert_ne!(of_file("# a"), of_file("# b"));
}

#[test]
fn whether_kvm_can_be_used_is_said() {
    let steps = Job::new("", &[]).run(&[]);
    let kvm = steps.iter().find(|step| step.name == "Use KVM").unwrap().outcome.as_ref().unwrap();
    let said = kvm.text();
    kvm.check(said.starts_with("vmtest: KVM: yes") || said.starts_with("vmtest: KVM: no"), "it is not said");
}
