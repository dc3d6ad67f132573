//! Cures of problems.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use vmtest_config::load;

use crate::fixtures::files;
use crate::support::{BASE, analysis, apply, fixture};

/// Every cure at the cursor: its title, and the text after it.
fn check(text: &str, expected: Expect) {
    let fixture = fixture(text);
    let mut shown = String::new();
    for fix in fixture.analysis.fixes(fixture.cursor..fixture.cursor) {
        let star = if fix.preferred { " *" } else { "" };
        writeln!(shown, "## {}{star}\n{}", fix.title, apply(fixture.analysis.text(), &fix.edits).trim_end())
            .unwrap();
    }
    expected.assert_eq(&shown);
}

#[test]
fn a_menu_for_a_whole_broken_file_is_short_and_takes_linear_time() {
    // Would take minutes if all had cures.
    for unit in ["a = 1\n", "memory = '1G'\n", "[target.vm]\n"] {
        let analysis = analysis(&format!("[[target]]\n{}", unit.repeat(5_000)));
        let fixes = analysis.fixes(0..analysis.text().len());
        assert!(fixes.len() <= 200, "{}", fixes.len());
    }
}

#[test]
fn a_misspelled_key_is_changed_or_removed() {
    check(
        "[[target]]\nname = \"a\"\nker$0nal = \"k\"\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[r#"
        ## Change it to `kernel` *
        [[target]]
        name = "a"
        kernel = "k"
        kernel = "k"
        command = "c"
        ## Remove `kernal`
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
    "#]],
    );
}

#[test]
fn one_of_two_equal_keys_is_removed() {
    check(
        "[[target]]\nname = \"a\" # first\nkernel = \"k\"\nname$0 = \"b\"\ncommand = \"c\"\n",
        expect![[r#"
        ## Remove `name`
        [[target]]
        name = "a" # first
        kernel = "k"
        command = "c"
        ## Remove the first one
        [[target]]
        kernel = "k"
        name = "b"
        command = "c"
    "#]],
    );
}

#[test]
fn a_key_moves_to_the_table_that_it_belongs_into() {
    check(
        "[[target]]\nname = \"a\"\nmemory$0 = \"1G\"\nkernel = \"k\"\ncommand = \"c\"\n\n[target.vm]\nnum_cpus = 1\n\n# next\n[[target]]\n",
        expect![[r#"
            ## Move it to `[target.vm]` *
            [[target]]
            name = "a"
            kernel = "k"
            command = "c"

            [target.vm]
            num_cpus = 1
            memory = "1G"

            # next
            [[target]]
            ## Remove `memory`
            [[target]]
            name = "a"
            kernel = "k"
            command = "c"

            [target.vm]
            num_cpus = 1

            # next
            [[target]]
        "#]],
    );
}

#[test]
fn a_key_moves_to_a_table_that_is_made_for_it() {
    check(
        "[[target]]\nname = \"a\"\nmemory$0 = \"1G\"\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[r#"
        ## Move it to `[target.vm]` *
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"

        [target.vm]
        memory = "1G"
        ## Remove `memory`
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
    "#]],
    );
}

#[test]
fn the_last_key_of_a_target_moves_too() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\nmemory$0 = \"1G\"\n",
        expect![[r#"
        ## Move it to `[target.vm]` *
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"

        [target.vm]
        memory = "1G"
        ## Remove `memory`
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
    "#]],
    );
}

#[test]
fn a_key_of_the_target_moves_out_of_its_table() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\n\n[target.vm]\ncommand$0 = '''\nmake\n'''\n",
        expect![[r###"
            ## Move it to `[[target]]` *
            [[target]]
            name = "a"
            kernel = "k"
            command = '''
            make
            '''

            [target.vm]
            ## Remove `command`
            [[target]]
            name = "a"
            kernel = "k"

            [target.vm]
        "###]],
    );
}

#[test]
fn a_table_of_the_target_is_made_one() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n[v$0m]\nmemory = \"1G\"\n",
        expect![[r###"
        ## Change it to `[target.vm]` *
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
        [target.vm]
        memory = "1G"
    "###]],
    );
    check(
        "[v$0m]\nmemory = \"1G\"\n[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[""]],
    );
}

#[test]
fn what_a_target_lacks_is_added() {
    check(
        "[[tar$0get]]\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[r#"
        ## Add `name` *
        [[target]]
        name = "linux 6.1"
        kernel = "k"
        command = "c"
    "#]],
    );
    check(
        "[[tar$0get]]\nname = \"a\"\nkernel = \"k\"\n\n[target.vm]\n",
        expect![[r###"
        ## Add `command` *
        [[target]]
        name = "a"
        kernel = "k"
        command = "cargo test"

        [target.vm]
    "###]],
    );
    check(
        "[[tar$0get]]\nname = \"a\"\ncommand = \"c\"\n",
        expect![[r###"
        ## Add `kernel`
        [[target]]
        name = "a"
        command = "c"
        kernel = "./bzImage"
        ## Add `kernel_package`
        [[target]]
        name = "a"
        command = "c"
        kernel_package = "linux-image-amd64"
        ## Add `image`
        [[target]]
        name = "a"
        command = "c"
        image = "./fedora38.qcow2"
    "###]],
    );
}

#[test]
fn one_of_two_systems_is_removed() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\nimage$0 = \"i\"\ncommand = \"c\"\n",
        expect![[r###"
        ## Remove `kernel`
        [[target]]
        name = "a"
        image = "i"
        command = "c"
        ## Remove `image`
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
    "###]],
    );
}

#[test]
fn a_target_gets_a_name_of_its_own() {
    let other = "kernel = \"k\"\ncommand = \"c\"\n";
    check(
        &format!(
            "[[target]]\nname = \"a\"\n{other}[[target]]\nname = \"a 2\"\n{other}[[target]]\nname = \"a$0\"\n{other}"
        ),
        expect![[r###"
            ## Call it `a 3` *
            [[target]]
            name = "a"
            kernel = "k"
            command = "c"
            [[target]]
            name = "a 2"
            kernel = "k"
            command = "c"
            [[target]]
            name = "a 3"
            kernel = "k"
            command = "c"
        "###]],
    );
}

#[test]
fn double_brackets_become_single_ones_and_single_ones_double() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n[[target.v$0m]]\nnum_cpus = 1\n",
        expect![[r###"
            ## Use single brackets *
            [[target]]
            name = "a"
            kernel = "k"
            command = "c"
            [target.vm]
            num_cpus = 1
        "###]],
    );
    check(
        "[tar$0get]\nname = \"a\"\nkernel = \"k\"\ncommand = \"c\"\n",
        expect![[r###"
        ## Use double brackets *
        [[target]]
        name = "a"
        kernel = "k"
        command = "c"
    "###]],
    );
}

#[test]
fn bios_needs_uefi() {
    check(
        "[[target]]\nname = \"a\"\nimage = \"i\"\ncommand = \"c\"\nvm.bi$0os = \"b\"\n",
        expect![[r###"
        ## Add `uefi = true`
        [[target]]
        name = "a"
        image = "i"
        command = "c"
        vm.bios = "b"
        uefi = true
        ## Remove `bios`
        [[target]]
        name = "a"
        image = "i"
        command = "c"
    "###]],
    );
}

#[test]
fn a_script_is_made_to_stop_at_a_failure() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = '''\n./a$0\n./b\n'''\n",
        expect![[r###"
        ## Begin with `set -e` *
        [[target]]
        name = "a"
        kernel = "k"
        command = '''
        set -e
        ./a
        ./b
        '''
    "###]],
    );
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = \"./a$0; ./b\"\n",
        expect![[r###"
        ## Begin with `set -e` *
        [[target]]
        name = "a"
        kernel = "k"
        command = "set -e; ./a; ./b"
    "###]],
    );
}

#[test]
fn an_expansion_is_left_to_the_inner_shell() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = 'bash -c \"x=1; echo $x$0\"'\n",
        expect![[r###"
            ## Leave it to the inner shell *
            [[target]]
            name = "a"
            kernel = "k"
            command = 'bash -c "x=1; echo \$x"'
        "###]],
    );
}

#[test]
fn a_here_document_gets_its_end() {
    check(
        "[[target]]\nname = \"a\"\nkernel = \"k\"\ncommand = '''\ncat <<$0EOF\nhello\n'''\n",
        expect![[r###"
            ## End it with `EOF` *
            [[target]]
            name = "a"
            kernel = "k"
            command = '''
            cat <<EOF
            hello
            EOF
            '''
        "###]],
    );
}

#[test]
fn a_preferred_cure_takes_its_problem_away() {
    for (path, text) in files("invalid") {
        let analysis = analysis(&text);
        for fix in analysis.fixes(0..text.len()).into_iter().filter(|fix| fix.preferred) {
            let cured = apply(&text, &fix.edits);
            let count = |text: &str| match load(text, BASE.as_ref()) {
                Ok(loaded) => loaded.warnings.iter().filter(|problem| problem.code == fix.code).count(),
                Err(problems) => problems.iter().filter(|problem| problem.code == fix.code).count(),
            };
            // Syntax that is right again may show what was hidden behind it.
            if fix.code != "syntax" {
                assert!(count(&cured) < count(&text), "{}: {}\n{cured}", path.display(), fix.title);
            }
        }
    }
}
