//! One connection: what each side says is handed to the other, as far as the line lets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::proxy::postgres::Talk;
use crate::proxy::{Line, Toward, Weather};

const PIECE: usize = 16 * 1024;

/// The connection is to be reset.
struct Cut;

pub(super) async fn carry(mut client: TcpStream, line: Arc<Line>) {
    line.open.fetch_add(1, Ordering::SeqCst);
    line.opened.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&line));
    let mut resets = line.resets.subscribe();
    let left = AtomicU64::new(line.bytes.load(Ordering::SeqCst));
    let talk = Talk::default();
    let whole = async {
        let mut gate = Gate { line: &line, weather: line.weather.subscribe(), left: &left, talk: &talk };
        gate.opens().await?;
        let at: SocketAddr = *line.server.borrow();
        let mut server = TcpStream::connect(at).await.map_err(|_| Cut)?;
        let result = {
            // Small pieces are not to wait for one another on our account.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
            let up = pump(from_client, to_server, gate.clone(), Toward::Server);
            let down = pump(from_server, to_client, gate, Toward::Client);
            tokio::select! {
                ended = async { tokio::try_join!(up, down) } => ended.map(drop),
                _ = resets.changed() => Err(Cut),
            }
        };
        if result.is_err() {
            let _ = server.set_zero_linger();
        }
        result
    };
    if whole.await.is_err() {
        let _ = client.set_zero_linger();
    }
}

/// Counts while it lives.
struct Open(Arc<Line>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Gate<'l> {
    line: &'l Line,
    weather: watch::Receiver<Weather>,
    left: &'l AtomicU64,
    talk: &'l Talk,
}

impl Gate<'_> {
    /// A new connection goes on to the server once there is a way.
    async fn opens(&mut self) -> Result<(), Cut> {
        self.until(|weather| match weather {
            Weather::Blackhole => Passage::Held,
            Weather::Reset => Passage::Cut,
            Weather::Clear | Weather::Delay(_) | Weather::Deaf(_) => Passage::Now,
        })
        .await
    }

    async fn passes(&mut self, toward: Toward) -> Result<(), Cut> {
        self.until(|weather| match weather {
            Weather::Clear => Passage::Now,
            Weather::Delay(by) => Passage::After(by),
            Weather::Deaf(deaf) if deaf != toward => Passage::Now,
            Weather::Blackhole | Weather::Deaf(_) => Passage::Held,
            Weather::Reset => Passage::Cut,
        })
        .await
    }

    async fn until(&mut self, passage: impl Fn(Weather) -> Passage) -> Result<(), Cut> {
        loop {
            let weather = *self.weather.borrow_and_update();
            match passage(weather) {
                Passage::Now => return Ok(()),
                Passage::Cut => return Err(Cut),
                Passage::After(by) => {
                    tokio::time::sleep(by).await;
                    return Ok(());
                }
                Passage::Held => self.weather.changed().await.map_err(|_| Cut)?,
            }
        }
    }

    /// How much of a piece passes, and whether the connection ends there.
    fn rationed(&self, piece: usize) -> (usize, bool) {
        let piece = piece as u64;
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            u64::MAX => None,
            left => Some(left.saturating_sub(piece)),
        });
        match before {
            Ok(left) if left <= piece => (usize::try_from(left).unwrap_or(usize::MAX), true),
            Ok(_) | Err(_) => (usize::try_from(piece).unwrap_or(usize::MAX), false),
        }
    }
}

enum Passage {
    Now,
    After(Duration),
    Held,
    Cut,
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: Gate<'_>,
    toward: Toward,
) -> Result<(), Cut> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Cut)?;
        // Also the end of what one side says is news that passes only where anything does.
        gate.passes(toward).await?;
        if count == 0 {
            return to.shutdown().await.map_err(|_| Cut);
        }
        let piece = buffer.get(..count).ok_or(Cut)?;
        if let Some(cut) = gate.talk.hears(toward, piece)
            && gate.line.cuts(cut)
        {
            return Err(Cut);
        }
        let (allowed, last) = gate.rationed(count);
        to.write_all(piece.get(..allowed).ok_or(Cut)?).await.map_err(|_| Cut)?;
        if last {
            return Err(Cut);
        }
    }
}
