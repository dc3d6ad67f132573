use vmtest_fuzz::Fuzzer;

use super::*;

/// What is found: its code, and the text that it is about.
fn found(script: &str) -> Vec<(&'static str, &str)> {
    lint(script).into_iter().map(|finding| (finding.code, &script[finding.span])).collect()
}

fn clean(scripts: &[&str]) {
    for script in scripts {
        assert_eq!(found(script), [], "{script}");
    }
}

const LOST: &str = "lost_exit_status";
const HEREDOC: &str = "unclosed_here_document";
const EARLY: &str = "expanded_too_early";

#[test]
fn a_here_document_without_its_last_line_is_found() {
    assert_eq!(found("cat <<EOF\nhello\n"), [(HEREDOC, "<<EOF")]);
    assert_eq!(found("cat <<'END' > f\nhello\nEND \n"), [(HEREDOC, "<<'END'")]);
    assert_eq!(found("cat <<-EOF\n\thello\n"), [(HEREDOC, "<<-EOF")]);
    assert_eq!(found("cat << EOF"), [(HEREDOC, "<< EOF")]);
    assert_eq!(found("cat <<A <<B\na\nA\nb\n"), [(HEREDOC, "<<B")]);
}

#[test]
fn an_indented_last_line_is_said_to_be_the_reason() {
    let help = |script| lint(script).remove(0).help;
    assert!(help("cat <<EOF\n  x\n  EOF\n").contains("first column"));
    assert!(help("cat <<-EOF\n  x\n  EOF\n").contains("only tabs"));
    assert!(help("cat <<EOF\n  x\n").contains("add a line"));
}

#[test]
fn a_here_document_with_an_end_is_none() {
    clean(&[
        "cat <<EOF\nhello\nEOF\n",
        "cat <<EOF\nhello\nEOF",
        "cat <<-'E'\n\thello\n\tE\n",
        "cat <<\"A\" <<B\nA\nB\n",
        "cat <<EOF\r\nx\r\nEOF\r\n",
    ]);
}

#[test]
fn other_uses_of_the_sign_are_no_here_documents() {
    clean(&[
        "cat <<<EOF",
        "x=$((1 << 2))",
        "echo '<<EOF'",
        "echo \"<<EOF\"",
        "# cat <<EOF\ntrue",
        "echo \\<\\<EOF",
        "(( x = 1 << 4 ))\necho $x",
        "for ((i = 1 << 2; i < 9; i++)); do ./a; done",
        "if ((1 << 2)); then ./a; fi",
    ]);
}

#[test]
fn a_failure_that_the_last_command_hides_is_found() {
    assert_eq!(found("./a.sh\n./b.sh\n"), [(LOST, "./a.sh")]);
    assert_eq!(found("make test; echo done"), [(LOST, "make test")]);
    assert_eq!(found("cd x\n./a.sh > log 2>&1\ncat log"), [(LOST, "./a.sh > log 2>&1")]);
    assert_eq!(found("make && ./a\n./b"), [(LOST, "make && ./a")]);
    assert_eq!(found("./a \\\n  --long\n./b"), [(LOST, "./a \\\n  --long")]);
    assert_eq!(found("X=1 ./a; ./b"), [(LOST, "X=1 ./a")]);
    assert_eq!(found("./a\nset -e\n./b"), [(LOST, "./a")]);
    assert_eq!(
        found("cat <<EOF | ./a\nx\nEOF\n./b"),
        [(LOST, "cat | ./a").to_owned()].map(|_| (LOST, "cat <<EOF | ./a"))
    );
}

#[test]
fn only_the_first_is_said() {
    assert_eq!(found("./a\n./b\n./c\n"), [(LOST, "./a")]);
}

#[test]
fn a_failure_that_counts_is_not_lost() {
    clean(&[
        "set -e\n./a\n./b",
        "set -eux\n./a\n./b",
        "set -o errexit; ./a; ./b",
        "./a && ./b",
        "./a &&\n  ./b",
        "./a || exit 1\n./b",
        "./a || fail=1\n./b\nexit $fail",
        "./a\nrc=$?\necho done\nexit $rc",
        "./a; rc=$?; dmesg; exit $rc",
        "trap 'exit 1' ERR\n./a\n./b",
        "! ./a\n./b",
        "set +e\n./a\nset -e\n./b",
        "set -e; ./a | tee log; exit ${PIPESTATUS[0]}",
        "./daemon &\n./test",
        "./a",
        "./a\n",
        "./a;",
    ]);
}

#[test]
fn preparing_and_showing_may_fail() {
    clean(&[
        "cd tests\n./run",
        "mount -t bpf bpf /sys/fs/bpf; ./run",
        "export X=1\nmkdir -p out\n./run",
        "uname -r; ./run",
        "modprobe foo\nsleep 1\n./run",
        "X=1\n./run",
        "/bin/echo hi\n./run",
        "stty cols 120; whoami; df -h; which gcc; ./run",
        "apt-get update\napt-get install -y gcc\n./run",
        "chown -R root:root .\ntouch a\nmkfs.ext4 -F a\ntc qdisc add dev lo root netem\n./run",
        "zcat /proc/config.gz | grep BPF\n./run",
        "((x = 4 / 2))\n./run",
    ]);
}

#[test]
fn nothing_is_said_of_loops_conditions_groups_and_functions() {
    clean(&[
        "for t in *; do ./$t; done\n./b",
        "if ./a; then\n  ./b\nfi\n./c",
        "while read x; do ./a; done < f\n./b",
        "case $x in\n  a) ./a ;;\n  b) ./b ;;\nesac\n./c",
        "{ ./a; ./b; } > log\n./c",
        "( ./a; ./b )\n./c",
        "f() {\n  ./a\n  ./b\n}\nf",
        "function f {\n  ./a\n}\nf",
    ]);
}

#[test]
fn a_pipeline_that_ends_in_a_copy_hides_its_failure() {
    assert_eq!(found("./a | tee log"), [(LOST, "./a")]);
    assert_eq!(found("set -e\n./a 2>&1 | tee log\n./b"), [(LOST, "./a")]);
    clean(&[
        "set -o pipefail\n./a | tee log",
        "set -euo pipefail; ./a | tee log",
        "dmesg | tee log",
        "./a | grep ok",
        "./a | tee log || exit 1",
    ]);
}

#[test]
fn what_only_the_inner_shell_sets_is_expanded_too_early() {
    assert_eq!(found("bash -c \"x=1; ./a $x\""), [(EARLY, "$x")]);
    assert_eq!(found("unshare -m sh -ec \"for t in a b; do ./$t; done\""), [(EARLY, "$t")]);
    assert_eq!(found("su nobody -c \"./a; echo ${?}\""), [(EARLY, "${?}")]);
    assert_eq!(found("bash -c \"awk '{print $1}' f\""), [(EARLY, "$1")]);
    assert_eq!(found("/bin/sh -c \"read -r line; echo $line $line\""), [(EARLY, "$line")]);
}

#[test]
fn a_search_that_only_tells_whether_is_a_check() {
    assert_eq!(found("grep -q foo /proc/cmdline\n./a"), [(LOST, "grep -q foo /proc/cmdline")]);
}

#[test]
fn what_the_outer_shell_knows_is_meant() {
    clean(&[
        "bash -c \"PATH=/opt/bin:$PATH make\"",
        "bash -c \"export PATH=$PATH:/opt/bin; make\"",
        "bash -c \"cd $DIR && make\"",
        "bash -c 'x=1; echo $x'",
        "bash -c \"x=1; echo \\$x\"",
        "bash -c \"echo $$ $0\"",
        "echo \"x=1 $x\"",
        "bash script -c",
    ]);
}

// L5
#[test]
fn a_script_of_any_size_is_read_in_linear_time_and_its_findings_lie_in_it() {
    for unit in ["$(", "\"", "'", "`", "cat <<EOF\n", "a;", "if ", "(", "${", "\\", "bash -c \"x=1 $x\"\n"] {
        // Would take minutes if it were not.
        let script = unit.repeat(200_000 / unit.len());
        assert!(lint(&script).iter().all(|finding| script.get(finding.span.clone()).is_some()), "{unit}");
    }
}

// L5
#[test]
fn any_script_has_findings_and_cures_that_lie_in_it() {
    let pieces = [
        "a",
        " ",
        "\n",
        ";",
        "|",
        "<<E",
        "<<-'E'",
        "E\n",
        "\"",
        "'",
        "$x",
        "${",
        "}",
        "(",
        ")",
        "$(",
        "`",
        "bash -c ",
        "\\",
        "x=",
        "ä",
        "set -e",
        "tee",
        "if ",
        "fi",
        "&&",
        "&",
        "2>",
        "#",
        "case x in ",
        "esac",
        "for ((",
        "<<<",
        "trap ",
        "\r\n",
        "\t",
    ];
    Fuzzer::new("shell")
        .seed("cat <<EOF\nhello\nEOF\nset -e\n./a | tee x\n")
        .seed("bash -c \"x=1; echo $x\"\nif ./a; then ./b; fi\n")
        .pieces(pieces)
        .run(|bytes| {
            let script = String::from_utf8_lossy(bytes);
            for finding in lint(&script) {
                let piece = script.get(finding.span.clone());
                assert!(piece.is_some_and(|text| !text.is_empty()), "{finding:?}");
                if let Some(Cure::Escape(at)) = finding.cure {
                    assert!(script.is_char_boundary(at), "{finding:?}");
                }
            }
        });
}
