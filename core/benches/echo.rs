//! Echo machines compared with tokio-util's `LengthDelimitedCodec` and a hand-written loop.
//!
//! `cargo bench -p socklab-core --bench echo`, with `-- --quick` for a short run.

mod common;
#[path = "common/stream.rs"]
mod stream;

use std::hint::black_box;

use bytes::{Buf, BytesMut};
use common::{Gone, Row, STREAM, Targets, Wire, head, same};
use socklab_core::Machine;
use socklab_core::echo::client::{self, Piece};
use socklab_core::echo::server::{self, Event};
use socklab_core::echo::{Client, Server};
use socklab_core::session::Handler;
use stream::{PIECE, drive, pumped, segments, stepped};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// Sizes of the payload in bytes, and the least speed relative to the codec.
const SIZES: [(usize, f64); 4] = [(9, 6.0), (64, 6.0), (1024, 1.6), (65536, 1.6)];

/// Size of the output in bytes. A reply is never longer than its message, so the replies to one read fit.
const ROOM: usize = PIECE + 64;

fn main() {
    head("echo server: a message in, its reply without the first ten characters out");
    for (size, codec) in SIZES {
        let (stream, messages) = stream(size);
        same(&[
            &|wire| server_pumped(&stream, wire),
            &|wire| server_stepped(&stream, wire),
            &|wire| server_codec(&stream, wire),
            &|wire| server_hand(&stream, wire),
        ]);
        Row {
            size,
            messages,
            ours: [
                ("pump", &mut || server_pumped(&stream, &mut Gone)),
                ("step", &mut || server_stepped(&stream, &mut Gone)),
            ],
            codec: &mut || server_codec(&stream, &mut Gone),
            extra: None,
            hand: &mut || server_hand(&stream, &mut Gone),
            targets: Targets { codec: Some(codec), hand: 1.3 },
        }
        .print();
    }

    head("echo client: replies in, with their messages in flight");
    for (size, codec) in SIZES {
        let (stream, messages) = stream(size);
        let (client, hand) = (client_with(messages, size), ClientHand::with(messages, size));
        same(&[
            &|replies| client_pumped(&client, &stream, replies),
            &|replies| client_stepped(&client, &stream, replies),
            &|replies| client_codec(&stream, replies),
            &|replies| client_hand(&hand, &stream, replies),
        ]);
        Row {
            size,
            messages,
            ours: [
                ("pump", &mut || client_pumped(&client, &stream, &mut Gone)),
                ("step", &mut || client_stepped(&client, &stream, &mut Gone)),
            ],
            codec: &mut || client_codec(&stream, &mut Gone),
            extra: None,
            hand: &mut || client_hand(&hand, &stream, &mut Gone),
            targets: Targets { codec: Some(codec), hand: 1.3 },
        }
        .print();
    }
}

/// Returns a stream of about 1 MiB in messages of `size` ASCII bytes, and the number of messages.
fn stream(size: usize) -> (Vec<u8>, usize) {
    let messages = STREAM / (size + 4);
    let mut stream = Vec::with_capacity(STREAM);
    for message in 0..messages {
        stream.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        stream.extend((0..size).map(|i| b' ' + ((message + i) % 95) as u8));
    }
    (stream, messages)
}

// ---- the server ---------------------------------------------------------------------------

/// Application of a server. Counts the messages.
struct Echoed(usize);

impl Handler<Server> for Echoed {
    fn event(&mut self, Event::Echoed { .. }: Event) {
        self.0 += 1;
    }
}

fn server_pumped(stream: &[u8], wire: &mut impl Wire) {
    let (mut server, mut echoed) = (Server::new(), Echoed(0));
    drive(PIECE, stream, ROOM, wire, |input, output| {
        pumped(&mut server, &mut echoed, input, output)
    });
    black_box(echoed.0);
}

fn server_stepped(stream: &[u8], wire: &mut impl Wire) {
    let (mut server, mut echoed) = (Server::new(), 0_usize);
    drive(PIECE, stream, ROOM, wire, |input, output| {
        stepped(&mut server, |server::Event::Echoed { .. }| echoed += 1, input, output)
    });
    black_box(echoed);
}

/// The codec waits for a whole message, so it also holds one in memory.
fn server_codec(stream: &[u8], wire: &mut impl Wire) {
    let mut codec = LengthDelimitedCodec::new();
    let (mut input, mut output) = (BytesMut::with_capacity(PIECE), BytesMut::with_capacity(PIECE));
    let mut echoed = 0_usize;
    for piece in stream.chunks(PIECE) {
        segments(piece).for_each(|segment| input.extend_from_slice(segment));
        while let Some(mut payload) = codec.decode(&mut input).unwrap() {
            let skip = first_ten(&payload, payload.len()).unwrap().unwrap();
            payload.advance(skip);
            codec.encode(payload.freeze(), &mut output).unwrap();
            echoed += 1;
        }
        wire.send(&output);
        output.clear();
    }
    assert!(input.is_empty());
    black_box(echoed);
}

fn server_hand(stream: &[u8], wire: &mut impl Wire) {
    let mut server = ServerHand::default();
    drive(PIECE, stream, ROOM, wire, |input, output| server.work(input, output).unwrap());
    black_box(server.echoed);
}

/// Hand-written server: streams payloads of any length, checks the text it removes, and stops when the
/// output is full.
#[derive(Default)]
struct ServerHand {
    /// Number of bytes of the reply that are not copied.
    remaining: usize,
    echoed: usize,
}

impl ServerHand {
    fn work(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), NotUtf8> {
        let (mut at, mut put) = (0, 0);
        if self.remaining > 0 {
            at = self.copy(input, output);
            put = at;
        }
        while let Some((header, payload)) = input[at..].split_first_chunk() {
            let length = u32::from_be_bytes(*header) as usize;
            let Some(skip) = first_ten(payload, length)? else { break };
            let Some((header, space)) = output[put..].split_first_chunk_mut() else { break };
            *header = ((length - skip) as u32).to_be_bytes();
            self.remaining = length - skip;
            let n = self.copy(&payload[skip..], space);
            (at, put) = (at + 4 + skip + n, put + 4 + n);
        }
        Ok((at, put))
    }

    #[inline]
    fn copy(&mut self, from: &[u8], to: &mut [u8]) -> usize {
        let n = self.remaining.min(from.len()).min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        self.remaining -= n;
        self.echoed += usize::from(self.remaining == 0);
        n
    }
}

#[derive(Debug)]
struct NotUtf8;

/// Returns the size in bytes of the first ten characters of a payload of `length` bytes; `None` if too
/// few bytes have arrived to know.
#[inline]
fn first_ten(payload: &[u8], length: usize) -> Result<Option<usize>, NotUtf8> {
    let want = length.min(10);
    match payload.get(..want) {
        Some(front) if front.is_ascii() => Ok(Some(want)),
        _ => first_ten_of_any(payload, length),
    }
}

#[inline(never)]
fn first_ten_of_any(payload: &[u8], length: usize) -> Result<Option<usize>, NotUtf8> {
    let front = &payload[..payload.len().min(length).min(40)];
    let text = match std::str::from_utf8(front) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&front[..e.valid_up_to()]).unwrap(),
    };
    match text.char_indices().nth(10) {
        Some((at, _)) => Ok(Some(at)),
        None if text.chars().count() == 10 || text.len() == length => Ok(Some(text.len())),
        None if front.len() < length.min(40) => Ok(None),
        None => Err(NotUtf8),
    }
}

// ---- the client ---------------------------------------------------------------------------

/// Application of a client. Uses the bytes of each piece, and whether it is the last of its reply.
struct Replies<'w, W>(&'w mut W);

impl<W: Wire> Replies<'_, W> {
    #[inline]
    fn piece(&mut self, bytes: &[u8], is_last: bool) {
        self.0.send(bytes);
        black_box(is_last);
    }
}

impl<W: Wire> Handler<Client> for Replies<'_, W> {
    fn event(&mut self, client::Event::Reply(piece): client::Event<&[u8]>) {
        self.piece(piece.bytes, piece.is_last());
    }
}

/// Returns a client that has sent this number of messages and received nothing.
fn client_with(messages: usize, size: usize) -> Client {
    let (mut client, mut output) = (Client::new(), [0; 4]);
    for _ in 0..messages {
        client.command(client::Command::Begin(size as u32), &mut output).unwrap();
        client.advance_outbound(size as u64).unwrap();
    }
    client
}

fn client_pumped(client: &Client, stream: &[u8], replies: &mut impl Wire) {
    let (mut client, mut replies) = (client.clone(), Replies(replies));
    drive(PIECE, stream, ROOM, &mut Gone, |input, output| {
        pumped(&mut client, &mut replies, input, output)
    });
    assert_eq!(client.in_flight(), 0);
}

fn client_stepped(client: &Client, stream: &[u8], replies: &mut impl Wire) {
    let (mut client, mut replies) = (client.clone(), Replies(replies));
    drive(PIECE, stream, ROOM, &mut Gone, |input, output| {
        let event = |client::Event::Reply(Piece { bytes, remaining, .. }): client::Event<&[u8]>| {
            replies.piece(bytes, remaining == 0);
        };
        stepped(&mut client, event, input, output)
    });
    assert_eq!(client.in_flight(), 0);
}

fn client_codec(stream: &[u8], replies: &mut impl Wire) {
    let mut codec = LengthDelimitedCodec::new();
    let (mut input, mut replies) = (BytesMut::with_capacity(PIECE), Replies(replies));
    for piece in stream.chunks(PIECE) {
        segments(piece).for_each(|segment| input.extend_from_slice(segment));
        while let Some(payload) = codec.decode(&mut input).unwrap() {
            replies.piece(&payload, true);
        }
    }
    assert!(input.is_empty());
}

fn client_hand(client: &ClientHand, stream: &[u8], replies: &mut impl Wire) {
    let (mut client, mut replies) = (client.clone(), Replies(replies));
    drive(PIECE, stream, ROOM, &mut Gone, |input, _| {
        (client.work(input, &mut replies).unwrap(), 0)
    });
    assert_eq!(client.in_flight, 0);
}

/// Hand-written receiving side of the client: streams replies of any length, and rejects one that was
/// not requested or is longer than all messages in flight.
#[derive(Clone)]
struct ClientHand {
    /// Number of bytes of the reply that have not arrived.
    remaining: usize,
    in_flight: usize,
    outstanding: usize,
}

#[derive(Debug)]
struct Unasked;

impl ClientHand {
    fn with(messages: usize, size: usize) -> Self {
        Self { remaining: 0, in_flight: messages, outstanding: messages * size }
    }

    fn work(
        &mut self,
        input: &[u8],
        replies: &mut Replies<'_, impl Wire>,
    ) -> Result<usize, Unasked> {
        let mut at = 0;
        if self.remaining > 0 {
            at = self.piece(input, replies);
        }
        while let Some((header, payload)) = input[at..].split_first_chunk() {
            let length = u32::from_be_bytes(*header) as usize;
            if self.in_flight == 0 || length > self.outstanding {
                return Err(Unasked);
            }
            self.outstanding -= length;
            self.remaining = length;
            at += 4 + self.piece(payload, replies);
        }
        Ok(at)
    }

    #[inline]
    fn piece(&mut self, bytes: &[u8], replies: &mut Replies<'_, impl Wire>) -> usize {
        let n = self.remaining.min(bytes.len());
        self.remaining -= n;
        self.in_flight -= usize::from(self.remaining == 0);
        replies.piece(&bytes[..n], self.remaining == 0);
        n
    }
}
