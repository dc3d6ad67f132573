//! A web server that does what a test says, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// What one connection gets.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    /// Says no more, until the client goes away.
    Hang,
    /// Goes on a byte at a time, as long as the client takes them.
    Drip,
}

impl Reply {
    /// A status with headers, each ended by a line break, and a body.
    pub(super) fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{}\r\n", headers.replace('\n', "\r\n"));
        Self { bytes: [head.as_bytes(), body].concat(), then: Then::Close }
    }

    /// The whole of a file.
    pub(super) fn file(body: &[u8]) -> Self {
        Self::new("200 OK", &format!("etag: \"1\"\ncontent-length: {}\n", body.len()), body)
    }

    /// The rest of it.
    pub(super) fn rest(body: &[u8], from: usize) -> Self {
        let headers = format!(
            "etag: \"1\"\ncontent-length: {}\ncontent-range: bytes {from}-{}/{}\n",
            body.len() - from,
            body.len() - 1,
            body.len()
        );
        Self::new("206 Partial Content", &headers, &body[from..])
    }

    /// The same without its last bytes.
    pub(super) fn cut(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        self
    }

    /// The same, and then nothing.
    pub(super) fn and_hang(mut self) -> Self {
        self.then = Then::Hang;
        self
    }
}

#[allow(dead_code, reason = "the end-to-end tests have this file, too, and no use for a server that is slow")]
impl Reply {
    /// The same, and then a byte now and then.
    pub(super) fn and_drip(mut self) -> Self {
        self.then = Then::Drip;
        self
    }
}

/// It serves the replies in their order, and the last of them for ever.
#[derive(Debug)]
pub(super) struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Says that a reply is sent.
    served: mpsc::Receiver<()>,
}

impl Server {
    pub(super) fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (sender, served) = mpsc::channel();
        let heard = asked.clone();
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reply = if replies.len() > 1 { replies.pop() } else { replies.last().cloned() };
                let (reply, heard, sender) = (reply.unwrap(), heard.clone(), sender.clone());
                thread::spawn(move || serve(stream, &reply, &heard, &sender));
            }
        });
        Self { address, asked, served }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until a reply is sent.
    pub(super) fn wait(&self) {
        self.served.recv().unwrap();
    }
}

fn serve(stream: TcpStream, reply: &Reply, heard: &Mutex<Vec<String>>, served: &mpsc::Sender<()>) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).is_ok_and(|count| count > 0) {}
    heard.lock().unwrap().push(request);
    let mut stream = reader.into_inner();
    // Who has seen enough goes away.
    let _ = stream.write_all(&reply.bytes).and_then(|()| stream.flush());
    let _ = served.send(());
    match reply.then {
        Then::Close => {}
        Then::Hang => {
            let _ = stream.read(&mut [0]);
        }
        Then::Drip => {
            while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}
