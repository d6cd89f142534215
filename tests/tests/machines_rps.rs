//! Rock, paper, scissors under every cut.

use socklab_core::machine::{Action, CommandError, Input, Invalid, Machine, Need, StreamEnd};
use socklab_core::rps::Choice::{self, Paper, Scissor, Stone};
use socklab_core::rps::{self, PROMPT, Round, Verdict};
use socklab_core::wire::{LINE_MAX, PROMPT_SILENCE_MS};
use socklab_tests::role::{RpsClient, RpsEvent, RpsServer};
use socklab_tests::script::{
    Outcome, Script, Transcript, assert_lawful, every_cut, every_truncation,
    every_truncation_of_script,
};

fn prompt(text: &str) -> RpsEvent {
    RpsEvent::Prompt(text.as_bytes().to_vec())
}

fn round(player1: Choice, player2: Choice) -> RpsEvent {
    RpsEvent::Round(Round::of(player1, player2))
}

fn client(choices: &[Choice], bytes: &[u8], end: Option<StreamEnd>) -> Transcript<RpsEvent> {
    assert_lawful(every_cut(&RpsClient::new(choices), bytes, end))
}

#[test]
fn client_plays_three_rounds_and_acknowledges_each() {
    let lines =
        "Draw,Paper,Paper\nPick: Player1 win!,Stone,Scissor\r\nPick: Player2 wins!,Paper,Scissor\n";
    let script = ["Pick: ", lines, "more"].concat();
    let transcript =
        assert_lawful(every_truncation(&RpsClient::new(&[Paper, Stone, Paper]), script.as_bytes()));
    let ask = || prompt("Pick:");
    assert_eq!(
        transcript.events(),
        [ask(), round(Paper, Paper), ask(), round(Stone, Scissor), ask(), round(Paper, Scissor)]
    );
    // Each line as it arrived.
    let sent = "Paper\nDraw,Paper,Paper\nStone\nPlayer1 win!,Stone,Scissor\nPaper\nPlayer2 wins!,Paper,Scissor\n";
    assert_eq!(String::from_utf8_lossy(&transcript.sent), sent);
    assert_eq!(transcript.outcome, Outcome::Done);
}

#[test]
fn client_understands_replies_without_newlines() {
    // Colons inside the prompt, and a result without a newline before the next prompt.
    let script = b"1: or 2: or 3: Draw,Paper,PaperEnter: Draw,Stone,Stone Enter: Draw,Paper,Paper";
    let transcript =
        assert_lawful(every_truncation(&RpsClient::new(&[Paper, Stone, Paper]), script));
    assert_eq!(
        transcript.events(),
        [
            prompt("1:"),
            round(Paper, Paper),
            prompt("Enter:"),
            round(Stone, Stone),
            prompt("Enter:"),
            round(Paper, Paper),
        ]
    );
    assert_eq!(transcript.outcome, Outcome::Done);
    // A pause ends a prompt. A line before it is emitted for the user.
    let bytes = b"Hi, player 1\nScissor? Player2 is thinking\nDraw,Paper,Paper\n";
    let script = Script { bytes, pauses: &[22], end: None };
    let transcript = assert_lawful(every_truncation_of_script(&RpsClient::new(&[Paper]), &script));
    let line = |text: &str| RpsEvent::Line(text.as_bytes().to_vec());
    assert_eq!(
        transcript.events(),
        [
            line("Hi, player 1"),
            prompt("Scissor?"),
            line("Player2 is thinking"),
            round(Paper, Paper)
        ]
    );
    let transcript = client(&[], b"Scissor? ", None);
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::InputOrIdle(PROMPT_SILENCE_MS)));
}

#[test]
fn client_accepts_spaces_after_commas_and_sends_them_back() {
    let script = b"Pick: Draw, Paper, Paper\nPick: Player1 win!,  Stone,Scissor\r\nPick: Player2 wins!,Paper, Scissor\n";
    let transcript =
        assert_lawful(every_truncation(&RpsClient::new(&[Paper, Stone, Paper]), script));
    assert_eq!(
        String::from_utf8_lossy(&transcript.sent),
        "Paper\nDraw, Paper, Paper\nStone\nPlayer1 win!,  Stone,Scissor\nPaper\nPlayer2 wins!,Paper, Scissor\n"
    );
    assert_eq!(transcript.outcome, Outcome::Done);
    // A line that does not fit in the smallest output buffer is emitted for the user.
    let line = format!("Draw,{}Paper,Paper", " ".repeat(40));
    let transcript = client(&[Paper], format!("Pick: {line}\n").as_bytes(), None);
    assert_eq!(transcript.events(), [prompt("Pick:"), RpsEvent::Line(line.into())]);
}

#[test]
fn client_emits_a_line_that_is_no_result_and_continues() {
    let line = |text: &str| RpsEvent::Line(text.as_bytes().to_vec());
    // The rest of a prompt may contain commas and a colon.
    let script = b"Choose one: Scissor, Paper, Stone\nYour choice: Draw,Paper,Paper\n";
    let transcript = assert_lawful(every_truncation(&RpsClient::new(&[Paper, Stone]), script));
    let rest = || line("Scissor, Paper, Stone");
    assert_eq!(transcript.events(), [prompt("Choose one:"), rest(), round(Paper, Paper)]);
    for text in [
        "Player2 wins!",
        "Draw",
        "You win!",
        "You lose,Paper,Scissor",
        "Draw (Paper), x",
        "Draw, Paper, Rock",
        "Draw,,Paper",
    ] {
        let script = ["Pick:", text, "\nDraw,Paper,Paper\n"].concat();
        let transcript =
            assert_lawful(every_truncation(&RpsClient::new(&[Paper]), script.as_bytes()));
        assert_eq!(transcript.events(), [prompt("Pick:"), line(text), round(Paper, Paper)]);
        assert_eq!(transcript.sent, b"Paper\nDraw,Paper,Paper\n");
    }
}

#[test]
fn client_takes_a_pause_after_an_unknown_line_for_a_new_prompt() {
    let role = RpsClient::new(&[Paper, Stone]);
    let script = |bytes, pauses| {
        assert_lawful(every_truncation_of_script(&role, &Script { bytes, pauses, end: None }))
    };
    let transcript = script(b"Pick: What?\nPick: Draw,Stone,Stone\n", &[18]);
    let line = |text: &str| RpsEvent::Line(text.as_bytes().to_vec());
    assert_eq!(
        transcript.events(),
        [prompt("Pick:"), line("What?"), prompt("Pick:"), round(Stone, Stone)]
    );
    // A pause after a complete line has no effect: player 2 may be a person who thinks.
    let transcript = script(b"Choose one: 1, 2, 3\nDraw,Paper,Paper\n", &[20]);
    assert_eq!(transcript.events(), [prompt("Choose one:"), line("1, 2, 3"), round(Paper, Paper)]);
    // A prompt may end with a newline.
    let transcript = script(b"Hello\nScissor, Paper or Stone\nDraw,Paper,Paper\n", &[30]);
    assert_eq!(
        transcript.events(),
        [line("Hello"), prompt("Scissor, Paper or Stone"), round(Paper, Paper)]
    );
}

#[test]
fn client_reports_mistakes_of_the_server() {
    let broke = "the server broke the protocol: ";
    for (line, sentence) in [
        ("Player1 wins!,Stone,Scissor", "it says that player 1 chose Stone, and Paper was sent"),
        (
            "Player1 wins!,Paper,Scissor",
            "it says \"Player1 wins!,Paper,Scissor\", expected the verdict \"Player2 wins!\"",
        ),
    ] {
        let script = ["Pick:", line, "\nPick:"].concat();
        let transcript = client(&[Paper, Paper], script.as_bytes(), None);
        assert_eq!(transcript.error_text(), [broke, sentence].concat());
        assert_eq!(transcript.sent, b"Paper\n", "a wrong line must not be acknowledged");
    }
    let long = ["Pick:", &"x".repeat(LINE_MAX + 1), "\n"].concat();
    let transcript = client(&[Paper], long.as_bytes(), None);
    assert!(transcript.error_text().contains("a line is too long"));
    for (bytes, how, sentence) in [
        (&b"Pick: "[..], StreamEnd::Closed, "the server closed the connection between messages"),
        (
            b"Pick: Dr",
            StreamEnd::Closed,
            "the server closed the connection in the middle of a message, after 2 bytes",
        ),
        (b"Pick: ", StreamEnd::TimedOut, "the server sent nothing more in time"),
        (b"", StreamEnd::Reset, "the server reset the connection between messages"),
    ] {
        assert_eq!(client(&[Paper], bytes, Some(how)).error_text(), sentence);
    }
}

// ---------------------------------------------------------------- server

#[test]
fn server_plays_three_rounds() {
    let role = RpsServer::new(&[Scissor, Scissor, Stone]);
    let script = b"Paper\nPlayer2 wins!,Paper,Scissor\n scissor \r\nDraw,Scissor,Scissor\r\nPAPER\nPlayer1 wins!,Paper,Stone\nmore";
    let transcript = assert_lawful(every_truncation(&role, script));
    use rps::server::Event::{Chosen, Round as RoundEvent};
    let rounds = [Round::of(Paper, Scissor), Round::of(Scissor, Scissor), Round::of(Paper, Stone)];
    assert_eq!(
        transcript.events(),
        [
            Chosen,
            RoundEvent(rounds[0]),
            Chosen,
            RoundEvent(rounds[1]),
            Chosen,
            RoundEvent(rounds[2])
        ]
    );
    let (mut sent, mut boundaries) = (Vec::new(), Vec::new());
    for round in rounds {
        boundaries.push(sent.len());
        sent.extend_from_slice(PROMPT);
        sent.extend_from_slice(format!("{round}\n").as_bytes());
    }
    assert_eq!((transcript.sent, transcript.boundaries), (sent, boundaries));
    assert_eq!((transcript.consumed, transcript.outcome), (script.len() - 4, Outcome::Done));
}

#[test]
fn server_does_not_reveal_the_clients_choice_before_its_own() {
    let transcript = assert_lawful(every_cut(&RpsServer::new(&[]), b"Paper\n", None));
    assert_eq!(transcript.events(), [rps::server::Event::Chosen]);
    assert_eq!(
        (transcript.sent.as_slice(), transcript.outcome),
        (PROMPT, Outcome::Waiting(Need::Command))
    );
}

#[test]
fn server_reports_mistakes_of_the_client() {
    let broke = "the client broke the protocol: ";
    let ack = "expected \"Draw,Paper,Paper\" back as the acknowledgement";
    for (script, sentence) in [
        ("1\n", "byte 0 of a line is 0x31 ('1'), expected Scissor, Paper or Stone".to_owned()),
        ("\n", "a line is empty, expected Scissor, Paper or Stone".to_owned()),
        ("Pape\n", "a line ends after 4 bytes, expected Scissor, Paper or Stone".to_owned()),
        ("Paper\nPaper\n", format!("byte 0 of a line is 0x50 ('P'), {ack}")),
        ("Paper\nDraw,Paper,Stone\n", format!("byte 11 of a line is 0x53 ('S'), {ack}")),
        ("Paper\nDraw,Paper\n", format!("a line ends after 10 bytes, {ack}")),
        ("Paper\nDraw,Paper,Paper!\n", format!("byte 16 of a line is 0x21 ('!'), {ack}")),
        ("Paper\ndraw,Paper,Paper\n", format!("byte 0 of a line is 0x64 ('d'), {ack}")),
    ] {
        let transcript =
            assert_lawful(every_cut(&RpsServer::new(&[Paper; 3]), script.as_bytes(), None));
        assert_eq!(transcript.error_text(), [broke, &sentence].concat());
    }
    for (bytes, how, sentence) in [
        (&b""[..], StreamEnd::Closed, "the client closed the connection between messages"),
        (b"Paper\n", StreamEnd::Closed, "the client closed the connection between messages"),
        (
            b"Paper\nDraw",
            StreamEnd::Closed,
            "the client closed the connection in the middle of a message, after 4 bytes",
        ),
        (
            b"Pap",
            StreamEnd::Reset,
            "the client reset the connection in the middle of a message, after 3 bytes",
        ),
        (b"Paper\n", StreamEnd::TimedOut, "the client sent nothing more in time"),
    ] {
        let transcript = assert_lawful(every_cut(&RpsServer::new(&[Paper; 3]), bytes, Some(how)));
        assert_eq!(transcript.error_text(), sentence, "{bytes:?}");
    }
}

#[test]
fn client_sends_unchecked_text_unchanged() {
    use rps::client::Command::{Choose, Unchecked};
    let start = || {
        let mut client = rps::Client::new();
        let _ = client.step(Input::open(b"Pick:"), &mut []).unwrap();
        client
    };
    let (mut client, mut room) = (start(), [0; 40]);
    assert_eq!(client.command(Unchecked(b"a\nb"), &mut room), Err(Invalid::Newline.into()));
    assert_eq!(client.command(Unchecked(b"Rock"), &mut room[..4]), Err(CommandError::OutputFull));
    assert_eq!(client.command(Unchecked(b"Rock"), &mut room), Ok(5));
    assert_eq!(client.command(Choose(Paper), &mut room), Err(CommandError::OutOfTurn));
    // The client does not know how the server interprets it.
    let verdict = Input::open(b"Draw,Stone,Stone\n");
    assert!(client.step(verdict, &mut room).is_ok());
}

#[test]
fn choices_are_accepted_only_in_turn() {
    use rps::server::Command::Choose;
    let (mut server, mut room) = (rps::Server::new(), [0; 64]);
    assert_eq!(server.command(Choose(Paper), &mut room), Err(CommandError::OutOfTurn));
    let mut input = &b"Stone\n"[..];
    while !matches!(
        server.step(Input::open(input), &mut room).map(|step| {
            input = &input[step.consumed..];
            step.action
        }),
        Ok(Action::Need(Need::Command))
    ) {}
    assert_eq!(server.command(Choose(Paper), &mut room[..25]), Err(CommandError::OutputFull));
    assert_eq!(server.command(Choose(Paper), &mut room), Ok(26));
    assert!(room.starts_with(b"Player2 wins!,Stone,Paper\n"));
    assert_eq!(server.command(Choose(Paper), &mut room), Err(CommandError::OutOfTurn));
    assert_eq!(Verdict::of(Stone, Paper), Verdict::Player2);
}

#[test]
fn machines_of_the_games_have_the_documented_sizes() {
    use socklab_core::{coin, guess};
    use std::mem::size_of;
    assert_eq!((size_of::<coin::Client>(), size_of::<coin::Server>()), (16, 12));
    assert_eq!((size_of::<guess::Client>(), size_of::<guess::Server>()), (4, 12));
    assert_eq!((size_of::<rps::Client>(), size_of::<rps::Server>()), (4, 8));
}
