//! Math machines compared with a tokio-util `Decoder` and `Encoder`, and a hand-written loop.
//!
//! `cargo bench -p socklab-core --bench math`, with `-- --quick` for a short run.

mod common;
#[path = "common/stream.rs"]
mod stream;

use std::hint::black_box;
use std::io;

use bytes::{Buf, BufMut, BytesMut};
use common::{Gone, Row, STREAM, Targets, Wire, head, same};
use socklab_core::Machine;
use socklab_core::machine::{Action, Input, Need, Step};
use socklab_core::math::client::Event;
use socklab_core::math::server::{self, Command};
use socklab_core::math::{ANSWER_BYTES, Client, Question, Secret, Server};
use socklab_core::session::Handler;
use stream::{PIECE, drive, pumped, segments, stepped};
use tokio_util::codec::{Decoder, Encoder};

/// Size of the output in bytes: at most nine bytes of output for four of input.
const ROOM: usize = 3 * PIECE;

fn main() {
    client();
    server();
}

/// Generator of questions. It takes a few instructions, so that its time does not count.
#[derive(Clone, Copy, Default)]
struct Questions(u32);

impl Questions {
    #[inline]
    fn next(&mut self) -> Question {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Question { a: self.0, b: self.0 >> 3 }
    }
}

const SECRET: Secret = Secret(*b"opensesm");

// ---- the client ---------------------------------------------------------------------------

fn client() {
    let messages = STREAM / Question::BYTES;
    let (mut stream, mut questions) = (vec![], Questions::default());
    (1..messages).for_each(|_| stream.extend_from_slice(&questions.next().emit()));
    stream.extend_from_slice(&SECRET.emit());
    same(&[
        &|wire| client_pumped(&stream, wire),
        &|wire| client_stepped(&stream, wire),
        &|wire| client_codec(&stream, wire),
        &|wire| client_hand(&stream, wire),
    ]);

    head("math client: a question in, its answer out");
    Row {
        size: Question::BYTES,
        messages,
        ours: [
            ("pump", &mut || client_pumped(&stream, &mut Gone)),
            ("step", &mut || client_stepped(&stream, &mut Gone)),
        ],
        codec: &mut || client_codec(&stream, &mut Gone),
        extra: None,
        hand: &mut || client_hand(&stream, &mut Gone),
        targets: Targets { codec: None, hand: 1.5 },
    }
    .print();
}

/// Application of a client. Counts the questions and keeps the secret.
#[derive(Default)]
struct Quiz {
    answered: usize,
    secret: Option<Secret>,
}

impl Quiz {
    fn check(&self) {
        black_box(self.answered);
        assert_eq!(self.secret, Some(SECRET));
    }
}

impl Handler<Client> for Quiz {
    fn event(&mut self, event: Event) {
        match event {
            Event::Question(_) => self.answered += 1,
            Event::Secret(secret) => self.secret = Some(secret),
        }
    }
}

fn client_pumped(stream: &[u8], wire: &mut impl Wire) {
    let (mut client, mut quiz) = (Client::new(), Quiz::default());
    drive(PIECE, stream, ROOM, wire, |input, output| pumped(&mut client, &mut quiz, input, output));
    quiz.check();
}

fn client_stepped(stream: &[u8], wire: &mut impl Wire) {
    let (mut client, mut quiz) = (Client::new(), Quiz::default());
    drive(PIECE, stream, ROOM, wire, |input, output| {
        stepped(&mut client, |event| quiz.event(event), input, output)
    });
    quiz.check();
}

/// Both directions of the client in the form of tokio-util.
struct ClientCodec;

impl Decoder for ClientCodec {
    type Item = Event;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<Event>> {
        let event = match (input.first(), input.first_chunk()) {
            (Some(&Question::TAG), Some(message)) => Event::Question(Question::parse(message)),
            (Some(&Secret::TAG), Some(message)) => Event::Secret(Secret::parse(message)),
            (None | Some(&(Question::TAG | Secret::TAG)), _) => return Ok(None),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        input.advance(Question::BYTES);
        Ok(Some(event))
    }
}

impl Encoder<u32> for ClientCodec {
    type Error = io::Error;

    fn encode(&mut self, answer: u32, output: &mut BytesMut) -> io::Result<()> {
        output.put_u32(answer);
        Ok(())
    }
}

fn client_codec(stream: &[u8], wire: &mut impl Wire) {
    let mut quiz = Quiz::default();
    let (mut input, mut output) = (BytesMut::with_capacity(PIECE), BytesMut::with_capacity(PIECE));
    for piece in stream.chunks(PIECE) {
        segments(piece).for_each(|segment| input.extend_from_slice(segment));
        while let Some(event) = ClientCodec.decode(&mut input).unwrap() {
            if let Event::Question(question) = event {
                ClientCodec.encode(question.sum(), &mut output).unwrap();
            }
            quiz.event(event);
        }
        wire.send(&output);
        output.clear();
    }
    quiz.check();
}

fn client_hand(stream: &[u8], wire: &mut impl Wire) {
    let mut quiz = Quiz::default();
    drive(PIECE, stream, ROOM, wire, |input, output| {
        answer_by_hand(input, output, &mut quiz).unwrap()
    });
    quiz.check();
}

#[derive(Debug)]
struct Broken;

/// Hand-written client: checks the tags, consumes only whole messages, and stops at the secret or when
/// the output is full.
fn answer_by_hand(
    input: &[u8],
    output: &mut [u8],
    quiz: &mut Quiz,
) -> Result<(usize, usize), Broken> {
    let (mut at, mut put) = (0, 0);
    while quiz.secret.is_none() {
        match &input[at..] {
            [b'Q', a0, a1, a2, a3, b0, b1, b2, b3, ..] => {
                let a = u32::from_be_bytes([*a0, *a1, *a2, *a3]);
                let b = u32::from_be_bytes([*b0, *b1, *b2, *b3]);
                let Some(space) = output[put..].first_chunk_mut() else { break };
                *space = a.wrapping_add(b).to_be_bytes();
                quiz.answered += 1;
                (at, put) = (at + 9, put + 4);
            }
            [b'S', secret @ ..] if secret.len() >= 8 => {
                quiz.secret = secret.first_chunk().copied().map(Secret);
                at += 9;
            }
            [] | [b'Q' | b'S', ..] => break,
            _ => return Err(Broken),
        }
    }
    Ok((at, put))
}

// ---- the server ---------------------------------------------------------------------------

/// Measures a server. An answer that arrives before its question stays in the input, so a stream of
/// answers drives the server at full speed: an answer in, a question out.
fn server() {
    let rounds = STREAM / ANSWER_BYTES;
    let (mut stream, mut questions) = (vec![], Questions::default());
    (0..rounds).for_each(|_| stream.extend_from_slice(&questions.next().sum().to_be_bytes()));
    same(&[
        &|wire| server_pumped(&stream, wire),
        &|wire| server_stepped(&stream, wire),
        &|wire| server_codec(&stream, wire),
        &|wire| server_hand(&stream, wire),
    ]);

    head("math server: an answer in, the next question out");
    Row {
        size: ANSWER_BYTES,
        messages: rounds,
        ours: [
            ("pump", &mut || server_pumped(&stream, &mut Gone)),
            ("step", &mut || server_stepped(&stream, &mut Gone)),
        ],
        codec: &mut || server_codec(&stream, &mut Gone),
        extra: None,
        hand: &mut || server_hand(&stream, &mut Gone),
        // A guard, not a goal: these are nanoseconds, and a read takes microseconds.
        targets: Targets { codec: None, hand: 2.0 },
    }
    .print();
}

/// Application of a server. Asks questions and counts the correct answers.
#[derive(Default)]
struct Examiner {
    questions: Questions,
    right: usize,
}

impl Examiner {
    fn event(&mut self, event: server::Event) {
        match event {
            server::Event::Right { .. } => self.right += 1,
            server::Event::Wrong { .. } => panic!("the answers are right"),
        }
    }
}

impl Handler<Server> for Examiner {
    fn event(&mut self, event: server::Event) {
        self.event(event);
    }

    fn command(&mut self) -> Option<Command> {
        Some(Command::Ask(self.questions.next()))
    }
}

fn server_pumped(stream: &[u8], wire: &mut impl Wire) {
    let (mut server, mut examiner) = (Server::new(), Examiner::default());
    drive(PIECE, stream, ROOM, wire, |input, output| {
        pumped(&mut server, &mut examiner, input, output)
    });
    black_box(examiner.right);
}

fn server_stepped(stream: &[u8], wire: &mut impl Wire) {
    let (mut server, mut examiner) = (Server::new(), Examiner::default());
    drive(PIECE, stream, ROOM, wire, |input, output| {
        let (mut at, mut put) = (0, 0);
        loop {
            let step = server.step(Input::open(&input[at..]), &mut output[put..]);
            let Step { consumed, written, action } = step.unwrap();
            (at, put) = (at + consumed, put + written);
            match action {
                Action::Event(event) => examiner.event(event),
                Action::Need(Need::Command) => {
                    let command = Command::Ask(examiner.questions.next());
                    put += server.command(command, &mut output[put..]).unwrap();
                }
                _ => return (at, put),
            }
        }
    });
    black_box(examiner.right);
}

/// Both directions of the server in the form of tokio-util.
struct ServerCodec;

impl Decoder for ServerCodec {
    type Item = u32;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<u32>> {
        if input.len() < ANSWER_BYTES {
            return Ok(None);
        }
        Ok(Some(input.get_u32()))
    }
}

impl Encoder<Question> for ServerCodec {
    type Error = io::Error;

    fn encode(&mut self, question: Question, output: &mut BytesMut) -> io::Result<()> {
        output.extend_from_slice(&question.emit());
        Ok(())
    }
}

fn server_codec(stream: &[u8], wire: &mut impl Wire) {
    let mut examiner = Examiner::default();
    let (mut input, mut output) = (BytesMut::with_capacity(PIECE), BytesMut::with_capacity(ROOM));
    let mut question = examiner.questions.next();
    ServerCodec.encode(question, &mut output).unwrap();
    for piece in stream.chunks(PIECE) {
        segments(piece).for_each(|segment| input.extend_from_slice(segment));
        while let Some(answer) = ServerCodec.decode(&mut input).unwrap() {
            assert_eq!(answer, question.sum());
            examiner.right += 1;
            question = examiner.questions.next();
            ServerCodec.encode(question, &mut output).unwrap();
        }
        wire.send(&output);
        output.clear();
    }
    black_box(examiner.right);
}

fn server_hand(stream: &[u8], wire: &mut impl Wire) {
    let (mut examiner, mut expected) = (Examiner::default(), None);
    drive(PIECE, stream, ROOM, wire, |input, output| {
        examine_by_hand(input, output, &mut examiner, &mut expected).unwrap()
    });
    black_box(examiner.right);
}

/// Hand-written server: consumes only whole answers, and asks while the output has space.
fn examine_by_hand(
    input: &[u8],
    output: &mut [u8],
    examiner: &mut Examiner,
    expected: &mut Option<u32>,
) -> Result<(usize, usize), Broken> {
    let (mut at, mut put) = (0, 0);
    loop {
        if let Some(sum) = *expected {
            let Some(answer) = input[at..].first_chunk() else { break };
            if u32::from_be_bytes(*answer) != sum {
                return Err(Broken);
            }
            at += ANSWER_BYTES;
            examiner.right += 1;
            *expected = None;
        }
        let Some(space) = output[put..].first_chunk_mut() else { break };
        let question = examiner.questions.next();
        *space = question.emit();
        put += Question::BYTES;
        *expected = Some(question.sum());
    }
    Ok((at, put))
}
