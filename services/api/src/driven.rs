//! Answers that go on for long are made by a task of their own, a few ahead of their caller: one that does not read must not
//! leave a query half done, with a connection in its hands.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use taskplane_runtime::Lifecycle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many answers wait for their caller.
const AHEAD: usize = 32;

/// The same answers, made whether somebody looks or not, until nobody can any more.
pub(crate) fn driven<T: Send + 'static>(
    lifecycle: &Lifecycle,
    answers: impl Stream<Item = T> + Send + 'static,
) -> BoxStream<'static, T> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    lifecycle.spawn("answers", async move {
        let mut answers = std::pin::pin!(answers);
        loop {
            let answer = tokio::select! {
                () = sender.closed() => return,
                answer = answers.next() => answer,
            };
            let Some(answer) = answer else { return };
            if sender.send(answer).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver).boxed()
}
