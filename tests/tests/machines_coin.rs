//! Heads or tails under every cut.

use socklab_core::coin::client::{ANSWER_MAX, Command};
use socklab_core::coin::{self, PROMPT, Reply, Side};
use socklab_core::machine::{CommandError, Input, Invalid, Machine, Need, StreamEnd};
use socklab_core::wire::{LINE_MAX, PROMPT_SILENCE_MS};
use socklab_tests::role::{CoinClient, CoinEvent, CoinServer};
use socklab_tests::script::{
    Outcome, Script, Transcript, assert_lawful, every_cut, every_cut_of_script, every_truncation,
    every_truncation_of_script,
};

const SHORT: &[u8] = b"Pick : ";

fn prompt(text: &str) -> CoinEvent {
    CoinEvent::Prompt(text.as_bytes().to_vec())
}

fn line(text: &str) -> CoinEvent {
    CoinEvent::Line(text.as_bytes().to_vec())
}

fn client(answers: &[&str], bytes: &[u8], end: Option<StreamEnd>) -> Transcript<CoinEvent> {
    assert_lawful(every_cut(&CoinClient::new(answers), bytes, end))
}

const RIGHT: CoinEvent = CoinEvent::Reply(Reply::Right);
const WRONG: CoinEvent = CoinEvent::Reply(Reply::Wrong);
const INVALID: CoinEvent = CoinEvent::Reply(Reply::Invalid);
const BYE: CoinEvent = CoinEvent::Reply(Reply::Bye);

#[test]
fn client_plays_a_whole_game_under_every_truncation() {
    let script = [
        SHORT,
        b"You are right!\n",
        SHORT,
        b"Sorry, you are wrong.\n",
        SHORT,
        b"Thanks for playing the game. Bye!\n and what is not read",
    ]
    .concat();
    let transcript = assert_lawful(every_truncation(&CoinClient::new(&["H", "t", "Q"]), &script));
    let ask = || prompt("Pick :");
    assert_eq!(transcript.events(), [ask(), RIGHT, ask(), WRONG, ask(), BYE]);
    assert_eq!(transcript.sent, b"H\nt\nQ\n");
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn client_parses_the_messages_of_the_protocol_document() {
    let script = [
        PROMPT,
        b"Please enter head (H), tail (T) or Q to quit\n",
        PROMPT,
        // White space as left by a string literal that is broken over two source lines.
        b"Please enter head (H), tail (T)             or Q to quit\n",
        PROMPT,
        b"You are right!\n",
        PROMPT,
        b"Thanks for playing the game. Bye!\n",
    ]
    .concat();
    let transcript = client(&["x", "", "H", "q"], &script, Some(StreamEnd::Closed));
    let ask = || prompt("I will toss a coin, guess if it is a head (H) or tail (T) :");
    assert_eq!(transcript.events(), [ask(), INVALID, ask(), INVALID, ask(), RIGHT, ask(), BYE]);
    assert_eq!((transcript.sent, transcript.outcome), (b"x\n\nH\nq\n".to_vec(), Outcome::Done));
}

#[test]
fn client_understands_replies_without_newlines() {
    // A result without a newline, directly followed by the next prompt.
    let glued = b"Guess, H or T: You are right!Guess, H or T: Sorry, you are wrong.Guess, H or T: Thanks for playing the game. Bye!";
    let transcript = assert_lawful(every_truncation(&CoinClient::new(&["H", "T", "Q"]), glued));
    let ask = || prompt("Guess, H or T:");
    assert_eq!(transcript.events(), [ask(), RIGHT, ask(), WRONG, ask(), BYE]);
    assert_eq!(transcript.outcome, Outcome::Done);
    // A prompt with more than one colon: its rest precedes the reply.
    let colons = b"Guess: H: or T: : You are right!\r\n\r\nGuess: H: or T: : Thanks for playing the game. Bye!\r\n";
    let transcript = assert_lawful(every_truncation(&CoinClient::new(&["H", "Q"]), colons));
    let ask = || prompt("Guess:");
    assert_eq!(transcript.events(), [ask(), RIGHT, ask(), BYE]);
}

#[test]
fn client_emits_lines_it_does_not_know() {
    let script = b"Welcome!\r\n\nRules? None\nPick: Hm\nYou are right!\nPick: Farewell\n";
    let transcript = client(&["H", "Q"], script, Some(StreamEnd::Closed));
    assert_eq!(
        transcript.events(),
        [
            line("Welcome!"),
            line("Rules? None"),
            prompt("Pick:"),
            line("Hm"),
            RIGHT,
            prompt("Pick:"),
            line("Farewell"),
        ]
    );
    assert_eq!(transcript.outcome, Outcome::Done);
    // A reply in unknown words: the next prompt shows that it was one.
    let transcript = client(&["H", "T", "Q"], b"Pick: Yes, head\nPick: You are right!", None);
    assert_eq!(transcript.events(), [prompt("Pick:"), line("Yes, head"), prompt("Pick:"), RIGHT]);
    assert_eq!(transcript.sent, b"H\nT\n");
}

#[test]
fn client_takes_a_pause_for_the_end_of_a_prompt() {
    let (bytes, pauses) = (b"Head or tail? You are right!\nAgain?Bye", [14, 35]);
    let script = Script { bytes, pauses: &pauses, end: None };
    let transcript =
        assert_lawful(every_truncation_of_script(&CoinClient::new(&["H", "Q"]), &script));
    assert_eq!(transcript.events(), [prompt("Head or tail?"), RIGHT, prompt("Again?")]);
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::Input));
    // Without the pause there is no prompt, and more may come.
    let transcript = client(&["H"], b"Head or tail? ", None);
    assert_eq!(transcript.events(), []);
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::InputOrIdle(PROMPT_SILENCE_MS)));
    // A pause where a reply is expected has no effect.
    for (bytes, paused_at, expected) in [
        (&b"hello\nPick:"[..], 5, &[prompt("hello")][..]),
        (b"Pick: You are", 13, &[prompt("Pick:")]),
        (b"Pick: Hm\n", 9, &[prompt("Pick:"), line("Hm")]),
        (b"Pick: Hm\nWell? ", 15, &[prompt("Pick:"), line("Hm"), prompt("Well?")]),
    ] {
        let pauses = [0, paused_at];
        let script = Script { bytes, pauses: &pauses, end: None };
        let transcript = assert_lawful(every_cut_of_script(&CoinClient::new(&["H"]), &script));
        assert_eq!(transcript.events(), expected);
    }
}

#[test]
fn client_takes_a_line_followed_by_a_pause_for_a_prompt() {
    let script = |bytes, pauses| {
        let script = Script { bytes, pauses, end: None };
        assert_lawful(every_truncation_of_script(&CoinClient::new(&["H", "T", "Q"]), &script))
    };
    // Every prompt ends with a newline, and the replies use unknown words.
    let bytes =
        b"Welcome\nHead or tail?\nYes, head\nHead or tail?\r\n\nNo\n Head or tail?\nFarewell\n";
    let transcript = script(bytes, &[22, 48, 66]);
    let ask = || prompt("Head or tail?");
    assert_eq!(
        transcript.events(),
        [line("Welcome"), ask(), line("Yes, head"), ask(), line("No"), ask(), line("Farewell")]
    );
    assert_eq!(transcript.sent, b"H\nT\nQ\n");
    // A line followed at once by more input, or by the end, is not a prompt.
    let transcript = client(&["H"], b"You win!\n", Some(StreamEnd::Closed));
    assert_eq!(transcript.events(), [line("You win!")]);
    let waiting = script(b"Head or tail?\n", &[]);
    assert_eq!(waiting.events(), []);
    assert_eq!(waiting.outcome, Outcome::Waiting(Need::InputOrIdle(PROMPT_SILENCE_MS)));
}

#[test]
fn client_has_an_error_text_for_every_end() {
    for (bytes, how, sentence) in [
        (&b""[..], StreamEnd::Closed, "the server closed the connection between messages"),
        (
            b"Pic",
            StreamEnd::Closed,
            "the server closed the connection in the middle of a message, after 3 bytes",
        ),
        (b"Pick: ", StreamEnd::Closed, "the server closed the connection between messages"),
        (
            b"Pick: You ",
            StreamEnd::Closed,
            "the server closed the connection in the middle of a message, after 4 bytes",
        ),
        (b"Pick: ", StreamEnd::Reset, "the server reset the connection between messages"),
        (b"Pick: ", StreamEnd::TimedOut, "the server sent nothing more in time"),
        (
            b"Pick: You are right!\n",
            StreamEnd::Closed,
            "the server closed the connection between messages",
        ),
    ] {
        assert_eq!(client(&["H"], bytes, Some(how)).error_text(), sentence, "{bytes:?}");
    }
    // After Q only the farewell is missing, and a server need not send one.
    for (rest, expected) in [
        (&b""[..], &[][..]),
        (b"\n", &[]),
        (b"So long", &[line("So long")]),
        (b"So long\n", &[line("So long")]),
        (b"Thanks for playing the game. Bye!", &[BYE]),
    ] {
        let bytes = [b"Pick:", rest].concat();
        // The end may race with the Q. Here the Q was sent first.
        let transcript = client(&["Q"], &bytes, Some(StreamEnd::Closed));
        assert_eq!(transcript.events()[1..], *expected);
        assert_eq!(transcript.outcome, Outcome::Done);
    }
    let reset = client(&["Q"], b"Pick: ", Some(StreamEnd::Reset));
    assert_eq!(reset.error_text(), "the server reset the connection between messages");
}

#[test]
fn client_limits_the_length_of_prompts_and_lines() {
    let long = "x".repeat(LINE_MAX + 1);
    let too_long =
        "the server broke the protocol: a line is too long, its first 1025 bytes have no newline";
    let role = CoinClient::new(&["H"]);
    for start in ["", "Pick:"] {
        let bytes = [start, &long, "\nYou are right!\n"].concat();
        for pauses in [&[][..], &[bytes.len() - 16]] {
            let script = Script { bytes: bytes.as_bytes(), pauses, end: None };
            let whole = assert_lawful(socklab_tests::script::compare_plans_of_script(
                &role,
                &script,
                &socklab_tests::script::Plan::whole(),
                &socklab_tests::script::Plan {
                    every_byte: true,
                    ..socklab_tests::script::Plan::whole()
                },
            ));
            assert_eq!(whole.error_text(), too_long);
        }
    }
}

#[test]
fn client_sends_answers_unchanged_and_only_in_turn() {
    let (mut client, mut room) = (coin::Client::new(), [0; ANSWER_MAX + 1]);
    assert_eq!(client.command(Command::Answer(b"H"), &mut room), Err(CommandError::OutOfTurn));
    let step = client.step(Input::open(b"Pick:"), &mut room).unwrap();
    assert_eq!(step.consumed, 5);
    let long = [b'x'; ANSWER_MAX + 1];
    assert_eq!(client.command(Command::Answer(&long), &mut room), Err(CommandError::OutputFull));
    let longer = [b'x'; LINE_MAX + 1];
    assert_eq!(
        client.command(Command::Answer(&longer), &mut [0; 2000]),
        Err(Invalid::TooLong.into())
    );
    assert_eq!(client.command(Command::Answer(b"H\nT"), &mut room), Err(Invalid::Newline.into()));
    assert_eq!(
        client.command(Command::Answer(b"H"), &mut room[..1]),
        Err(CommandError::OutputFull)
    );
    assert_eq!(client.command(Command::Answer(&long[1..]), &mut room), Ok(ANSWER_MAX + 1));
    assert_eq!(client.command(Command::Answer(b"H"), &mut room), Err(CommandError::OutOfTurn));
}

#[test]
fn client_counts_only_its_guesses() {
    let mut client = coin::Client::new();
    let mut play = |answer: &[u8], reply: &[u8]| {
        let input = [b"Pick:", reply].concat();
        let _ = client.step(Input::open(&input), &mut []).unwrap();
        client.command(Command::Answer(answer), &mut [0; 8]).unwrap();
        let _ = client.step(Input::open(&input[5..]), &mut []).unwrap();
        (client.score().right, client.score().of)
    };
    assert_eq!(play(b"H", b"You are right!"), (1, 1));
    assert_eq!(play(b"T", b"Sorry, you are wrong."), (1, 2));
    assert_eq!(play(b"x", b"Please enter head (H), tail (T) or Q to quit"), (1, 2));
    // A server that returns "right" for an answer that was not a guess.
    assert_eq!(play(b"x", b"You are right!"), (1, 2));
    assert_eq!(play(b" h", b"You are right!"), (2, 3));
    assert_eq!(client.score().to_string(), "You have guessed correctly 2 out of 3 times.");
}

#[test]
fn terminal_escape_sequences_are_emitted_unchanged() {
    let script = b"\x1b[2J\x07 \xe2\x80\xae\n\x1b]0;x\x07: ";
    let transcript = client(&[], script, None);
    assert_eq!(
        transcript.events(),
        [
            CoinEvent::Line(b"\x1b[2J\x07 \xe2\x80\xae".to_vec()),
            CoinEvent::Prompt(b"\x1b]0;x\x07:".to_vec())
        ]
    );
}

// ---------------------------------------------------------------- server

#[test]
fn server_answers_every_kind_of_line() {
    let role = CoinServer::new(&[Side::Head, Side::Head, Side::Tail]);
    let script = b"H\nT\r\n t \nhead\n\nq\nH\n";
    let transcript = assert_lawful(every_truncation(&role, script));
    let replies: [&[u8]; 6] = [
        b"You are right!\n",
        b"Sorry, you are wrong.\n",
        b"You are right!\n",
        b"Please enter head (H), tail (T) or Q to quit\n",
        b"Please enter head (H), tail (T) or Q to quit\n",
        b"Thanks for playing the game. Bye!\n",
    ];
    let (mut sent, mut boundaries) = (Vec::new(), Vec::new());
    for reply in replies {
        boundaries.push(sent.len());
        sent.extend_from_slice(PROMPT);
        sent.extend_from_slice(reply);
    }
    assert_eq!(transcript.sent, sent);
    assert_eq!(transcript.boundaries, boundaries, "a boundary before each prompt and nowhere else");
    use coin::server::Event::{Guess, Invalid, Quit};
    assert_eq!(
        transcript.events(),
        [Guess(Side::Head), Guess(Side::Tail), Guess(Side::Tail), Invalid, Invalid, Quit]
    );
    assert_eq!((transcript.consumed, transcript.outcome), (script.len() - 2, Outcome::Done));
}

#[test]
fn server_keeps_the_score() {
    let mut server = coin::Server::new();
    let mut room = [0; 64];
    for (line, tosses, score) in [("H", true, (1, 1)), ("x", false, (1, 1)), ("T", true, (1, 2))] {
        let input = [line, "\n"].concat();
        let mut consumed = 0;
        loop {
            let step = server.step(Input::open(&input.as_bytes()[consumed..]), &mut room).unwrap();
            consumed += step.consumed;
            use socklab_core::machine::Action;
            match step.action {
                Action::Need(Need::Command) => {
                    assert!(tosses);
                    let toss = coin::server::Command::Toss(Side::Head);
                    server.command(toss, &mut room).unwrap();
                }
                Action::Need(_) => break,
                _ => {}
            }
        }
        assert_eq!((server.score().right, server.score().of), score);
    }
}

#[test]
fn server_has_an_error_text_for_every_end() {
    let role = CoinServer::new(&[]);
    for (bytes, how, sentence) in [
        (&b""[..], StreamEnd::Closed, "the client closed the connection between messages"),
        (
            b"H",
            StreamEnd::Closed,
            "the client closed the connection in the middle of a message, after 1 byte",
        ),
        (b"H\n", StreamEnd::Closed, "the client closed the connection between messages"),
        (
            b"x\nQ",
            StreamEnd::Reset,
            "the client reset the connection in the middle of a message, after 1 byte",
        ),
        (b"x\n", StreamEnd::TimedOut, "the client sent nothing more in time"),
    ] {
        assert_eq!(assert_lawful(every_cut(&role, bytes, Some(how))).error_text(), sentence);
    }
    // A client that only half-closes still gets its reply.
    let transcript = assert_lawful(every_cut(&role, b"H\n", Some(StreamEnd::Closed)));
    assert_eq!(transcript.sent, [PROMPT, b"You are right!\n", PROMPT].concat());
    let long = [&[b'x'; LINE_MAX + 1][..], b"\n"].concat();
    let transcript = assert_lawful(every_cut(&role, &long, None));
    assert!(transcript.error_text().contains("the client broke the protocol: a line is too long"));
}
