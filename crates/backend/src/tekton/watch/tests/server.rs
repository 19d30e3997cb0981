//! An API server that does what it is told: for what a real one cannot be made to do on demand.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub enum Reply {
    Whole {
        code: u16,
        headers: &'static str,
        body: String,
    },
    /// These lines, and then the end.
    Lines(Vec<String>),
    /// These lines, and then nothing, for ever.
    Silent(Vec<String>),
    /// The connection is closed without a word.
    Cut,
    /// Not a word, and the connection stays.
    Hang,
}

impl Reply {
    pub fn ok(body: &serde_json::Value) -> Self {
        Self::Whole { code: 200, headers: "", body: body.to_string() }
    }

    pub fn refused(code: u16, headers: &'static str) -> Self {
        let body =
            serde_json::json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": ""});
        Self::Whole { code, headers, body: body.to_string() }
    }
}

/// What was asked, when.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub at: Instant,
}

pub struct Server {
    asked: watch::Sender<Vec<Asked>>,
    pub kubeconfig: PathBuf,
    _directory: tempfile::TempDir,
    _accepts: AbortOnDropHandle<()>,
}

type Script = Arc<Mutex<dyn FnMut(&Asked) -> Reply + Send>>;

impl Server {
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
    pub async fn start(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        let asked = watch::Sender::new(Vec::new());
        let (told, script): (_, Script) = (asked.clone(), Arc::new(Mutex::new(script)));
        let accepts = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, told.clone(), script.clone()));
            }
        });
        Self { asked, kubeconfig, _directory: directory, _accepts: AbortOnDropHandle::new(accepts) }
    }

    /// All of those that fit, once there are as many.
    pub async fn asked(&self, what: &str, count: usize) -> Vec<Asked> {
        let fitting =
            |all: &Vec<Asked>| all.iter().filter(|one| one.target.contains(what)).cloned().collect::<Vec<_>>();
        let mut asked = self.asked.subscribe();
        let there = asked.wait_for(|all| fitting(all).len() >= count).await.unwrap();
        fitting(&there)
    }
}

async fn answer(mut stream: TcpStream, told: watch::Sender<Vec<Asked>>, script: Script) {
    let Some(asked) = request(&mut stream).await else { return };
    let reply = (script.lock().unwrap())(&asked);
    told.send_modify(|all| all.push(asked));
    let head = |code: u16, more: &str| {
        format!("HTTP/1.1 {code} It\r\nContent-Type: application/json\r\nConnection: close\r\n{more}\r\n")
    };
    let (text, silent) = match reply {
        Reply::Whole { code, headers, body } => {
            (format!("{}{body}", head(code, &format!("Content-Length: {}\r\n{headers}", body.len()))), false)
        }
        Reply::Lines(lines) => (head(200, "") + &lines.concat(), false),
        Reply::Silent(lines) => (head(200, "") + &lines.concat(), true),
        Reply::Cut => return,
        Reply::Hang => (String::new(), true),
    };
    if stream.write_all(text.as_bytes()).await.is_ok() && silent {
        // Until the other side has had enough.
        let _ = stream.read(&mut [0]).await;
    }
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut text = Vec::new();
    let head = loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    };
    let lines = String::from_utf8(text[..head].to_vec()).unwrap();
    let length =
        lines.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    while text.len() < head + length.unwrap_or(0usize) {
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = lines.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Asked { method, target, at: Instant::now() })
}
