//! Where kernels and images come from: URLs, packages and checksums.

use expect_test::expect;

use crate::check;

#[test]
fn a_kernel_url_is_enough() {
    check(
        "[[target]]
name = 't'
kernel_url = 'https://a/b'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn a_kernel_package_is_enough() {
    check(
        "[[target]]
name = 't'
kernel_package = 'linux-image-amd64'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn an_image_url_is_enough() {
    check(
        "[[target]]
name = 't'
image_url = 'file:///a/b'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn a_url_of_another_scheme_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_url = 'ftp://a/b'
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:14 "'ftp://a/b'" `kernel_url` has a scheme that vmtest cannot fetch: "ftp" / write a URL that starts with https://, http:// or file:///
        "#]],
    );
}

#[test]
fn a_url_without_a_scheme_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_url = 'a/b'
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:14 "'a/b'" `kernel_url` is not a URL: "a/b" / write a URL that starts with https://, http:// or file:///
        "#]],
    );
}

#[test]
fn a_url_without_a_host_is_refused() {
    check(
        "[[target]]
name = 't'
image_url = 'https:///b'
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:13 "'https:///b'" `image_url` names no host / write https://host/path
        "#]],
    );
}

#[test]
fn a_url_with_a_blank_is_refused() {
    check(
        "[[target]]
name = 't'
image_url = 'https://a/b c'
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:13 "'https://a/b c'" `image_url` has a blank or a control character in it / write a blank as %20
        "#]],
    );
}

#[test]
fn a_relative_file_url_is_refused() {
    check(
        "[[target]]
name = 't'
image_url = 'file://a/b'
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:13 "'file://a/b'" `image_url` names no file / write an absolute path: file:///path/to/file
        "#]],
    );
}

#[test]
fn an_empty_url_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_url = ''
command = 'c'
",
        &expect![[r#"
            error[invalid_url] 3:14 "''" `kernel_url` is not a URL: "" / write a URL that starts with https://, http:// or file:///
        "#]],
    );
}

#[test]
fn a_package_like_an_option_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_package = '--root=/'
command = 'c'
",
        &expect![[r#"
            error[invalid_package] 3:18 "'--root=/'" `kernel_package` starts with `-`, like an option: "--root=/" / write the package's name, such as "linux-image-amd64"
        "#]],
    );
}

#[test]
fn an_empty_package_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_package = ''
command = 'c'
",
        &expect![[r#"
            error[invalid_package] 3:18 "''" `kernel_package` is empty / write the package's name, such as "linux-image-amd64"
        "#]],
    );
}

#[test]
fn a_package_with_a_blank_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_package = 'a b'
command = 'c'
",
        &expect![[r#"
            error[invalid_package] 3:18 "'a b'" `kernel_package` has a blank in it: "a b" / write the package's name, such as "linux-image-amd64"
        "#]],
    );
}

#[test]
fn a_kernel_checksum_needs_its_url() {
    check(
        "[[target]]
name = 't'
kernel = 'k'
kernel_sha256 = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
command = 'c'
",
        &expect![[r#"
            error[missing_companion] 4:1 "kernel_sha256" `kernel_sha256` needs `kernel_url` / add `kernel_url`, or remove `kernel_sha256`
        "#]],
    );
}

#[test]
fn an_image_checksum_needs_its_url() {
    check(
        "[[target]]
name = 't'
image = 'i'
image_sha256 = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
command = 'c'
",
        &expect![[r#"
            error[missing_companion] 4:1 "image_sha256" `image_sha256` needs `image_url` / add `image_url`, or remove `image_sha256`
        "#]],
    );
}

#[test]
fn an_image_checksum_beside_a_kernel_url_needs_its_url() {
    check(
        "[[target]]
name = 't'
kernel_url = 'https://a/b'
image_sha256 = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
command = 'c'
",
        &expect![[r#"
            error[missing_companion] 4:1 "image_sha256" `image_sha256` needs `image_url` / add `image_url`, or remove `image_sha256`
        "#]],
    );
}

#[test]
fn a_checksum_with_its_url_is_fine() {
    check(
        "[[target]]
name = 't'
kernel_url = 'https://a/b'
kernel_sha256 = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn a_short_checksum_is_refused() {
    check(
        "[[target]]
name = 't'
kernel_url = 'https://a/b'
kernel_sha256 = 'abc'
command = 'c'
",
        &expect![[r#"
            error[invalid_sha256] 4:17 "'abc'" `kernel_sha256` has 3 digits, not 64 / write what `sha256sum` prints for the file: 64 hexadecimal digits
        "#]],
    );
}

#[test]
fn a_checksum_with_another_letter_is_refused() {
    check(
        "[[target]]
name = 't'
image_url = 'https://a/b'
image_sha256 = 'gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
command = 'c'
",
        &expect![[r#"
            error[invalid_sha256] 4:16 "'gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'" `image_sha256` has a character that is no hexadecimal digit: 'g' / write what `sha256sum` prints for the file: 64 hexadecimal digits
        "#]],
    );
}

#[test]
fn kernel_args_with_a_package_are_fine() {
    check(
        "[[target]]
name = 't'
kernel_package = 'p'
kernel_args = 'ro'
command = 'c'
",
        &expect![[""]],
    );
}

#[test]
fn uefi_with_an_image_url_is_fine() {
    check(
        "[[target]]
name = 't'
image_url = 'https://a/b'
uefi = true
command = 'c'
",
        &expect![[""]],
    );
}
