//! For tests of what talks to QEMU and its agent: a peer that says what it was given, line by line, and then is gone.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// Says `text`: up to the next answer at each question, as an honest peer does, or all of it unasked. With the
/// end of the text the connection ends.
pub(crate) fn say(text: Vec<u8>, greets: bool, is_asked: bool) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("there are sockets");
    tokio::spawn(async move {
        let (read, mut write) = theirs.into_split();
        let mut questions = BufReader::new(read);
        let mut question = Vec::new();
        let mut waits = is_asked && !greets;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            question.clear();
            if waits && questions.read_until(b'\n', &mut question).await.unwrap_or(0) == 0 {
                return;
            }
            if write.write_all(line).await.is_err() {
                return;
            }
            let is_answer = [&b"\"return\""[..], b"\"error\"", b"\"QMP\""]
                .iter()
                .any(|word| memchr::memmem::find(line, word).is_some());
            waits = is_asked && is_answer;
        }
        drop(write);
        // What is asked now is read, so that it does not fail before the end is seen.
        let _ = tokio::io::copy(&mut questions, &mut tokio::io::sink()).await;
    });
    ours
}

/// What comes of `future` where time passes as soon as nobody has anything to do: who waits in vain is seen at once.
///
/// # Panics
///
/// When it takes longer than `limit`.
pub(crate) fn at_once<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(limit, future).await })
        .expect("it waits for what does not come")
}
