//! The games: what the fuzzer chooses for them, and the plain way to see what is right.

use socklab_core::coin::{Answer, PROMPT as TOSS, Reply, Side};
use socklab_core::guess::{self, Message};
use socklab_core::machine::{Machine, StreamEnd};
use socklab_core::rps::{self, Choice, PROMPT as CHOOSE, Round};
use socklab_core::wire::LINE_MAX;
use socklab_tests::draw::Draw;
use socklab_tests::role::rps::choices;
use socklab_tests::role::{
    Application, CoinClient, CoinEvent, CoinServer, GuessClient, GuessEvent, GuessServer,
    RpsClient, RpsEvent, RpsServer, coin_replies, guess_game,
};
use socklab_tests::script::{Outcome, Plan, Script, Transcript, compare_plans_of_script};

use crate::{plan, unmarked};

/// What came of a script, which is the same under any plan: the bytes, how they ended, and that.
type Came<'d, E> = (&'d [u8], Option<StreamEnd>, Transcript<E>);

/// Drives the role under a plan and a silence or two of the fuzzer's, and under none.
fn drive<'d, R: Application>(
    draw: &mut Draw<'d>,
    choose: impl FnOnce(&mut Draw<'d>) -> R,
) -> Came<'d, R::Event> {
    let (plan, end, is_silent) = plan::<R::Machine>(draw);
    let mut pauses = vec![];
    if is_silent {
        pauses.extend([draw.byte(), draw.byte()].map(usize::from));
        pauses.sort_unstable();
    }
    let role = choose(draw);
    let bytes = draw.rest();
    let script = Script { bytes, pauses: &pauses, end };
    let transcript = compare_plans_of_script(&role, &script, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));
    (bytes, end, transcript)
}

/// The whole lines from the start on that are not too long, as a server of lines hears them.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map_while(|line| line.strip_suffix(b"\n").filter(|line| line.len() <= LINE_MAX))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .map(|(at, line)| if at == 0 { unmarked(line) } else { line })
}

/// `coin_server`: the tosses, a bit each.
pub fn coin_server(mut draw: Draw<'_>) {
    let mut tosses = vec![];
    let (bytes, _, transcript) = drive(&mut draw, |draw| {
        let bits = draw.byte();
        tosses = (0..8).map(|n| if bits >> n & 1 == 0 { Side::Head } else { Side::Tail }).collect();
        CoinServer::new(&tosses)
    });
    let heard: Vec<&[u8]> = lines(bytes).collect();
    let replies = coin_replies(&heard, &tosses);
    let (mut sent, mut boundaries) = (vec![], vec![]);
    for reply in &replies {
        boundaries.push(sent.len());
        sent.extend_from_slice(&[TOSS, reply.text(), b"\n"].concat());
    }
    let is_over = replies.last() == Some(&Reply::Bye);
    if !is_over {
        boundaries.push(sent.len());
        sent.extend_from_slice(TOSS);
    }
    assert_eq!((&transcript.sent, &transcript.boundaries), (&sent, &boundaries));
    assert_eq!(transcript.outcome == Outcome::Done, is_over);
    assert_eq!(transcript.emitted.len(), replies.len());
}

/// `coin_client`: three answers, then a Q if the fuzzer likes.
pub fn coin_client(mut draw: Draw<'_>) {
    let mut answers: Vec<&[u8]> = vec![];
    let (bytes, end, transcript) = drive(&mut draw, |draw| {
        const SOME: [&[u8]; 8] = [b"H", b"T", b"h", b"x", b"", b"Q", b"HT", b" t"];
        let choice = draw.byte();
        answers = (0..3).map(|n| SOME[usize::from(choice >> (2 * n) & 3)]).collect();
        if choice & 64 != 0 {
            answers.push(b"Q");
        }
        CoinClient::new(&answers)
    });
    let prompts =
        transcript.emitted.iter().filter(|t| matches!(t.event, CoinEvent::Prompt(_))).count();
    // An answer to each prompt, while there are some; of the last one the end may have been seen
    // instead.
    let sent: Vec<Vec<u8>> = answers.iter().map(|a| [a, &b"\n"[..]].concat()).collect();
    let given = prompts.min(answers.len());
    let all = sent[..given].concat();
    let fewer = sent[..given.saturating_sub(1)].concat();
    assert!(transcript.sent == all || end.is_some() && transcript.sent == fewer);
    let said_q = answers.iter().take(given).any(|a| Answer::parse(a) == Answer::Quit);
    let is_done = transcript.outcome == Outcome::Done;
    assert!(said_q || !is_done, "done before Q");
    // All text is the server's, in its order.
    let mut at = 0;
    for told in &transcript.emitted {
        let text = match &told.event {
            CoinEvent::Prompt(text) | CoinEvent::Line(text) => text.as_slice(),
            CoinEvent::Reply(Reply::Invalid) => b"or Q to quit",
            CoinEvent::Reply(reply) => reply.text(),
        };
        assert!(
            bytes[at..told.consumed].windows(text.len().max(1)).any(|w| w == text)
                || text.is_empty()
        );
        at = told.consumed;
    }
    if said_q && end == Some(StreamEnd::Closed) && transcript.sent == all && given > 0 {
        let is_too_long = transcript.error_text().contains("too long");
        assert!(is_done || is_too_long, "closed after Q is an end");
    }
}

/// `guess_server`: the number.
pub fn guess_server(mut draw: Draw<'_>) {
    let mut number = 0;
    let (bytes, _, transcript) = drive(&mut draw, |draw| {
        number = i32::from(draw.byte() % 128);
        GuessServer(number)
    });
    let guess = |line: &[u8]| {
        let text = str::from_utf8(line).ok()?.trim_matches([' ', '\t', '\r', '\x0c']);
        text.parse::<i32>().ok()
    };
    let guesses: Vec<Option<i32>> = lines(bytes).map(guess).collect();
    let (said, used) = guess_game(number, &guesses);
    let sent: Vec<u8> = said.iter().flat_map(|m| [m.text(), b"\n"].concat()).collect();
    assert_eq!(transcript.sent, sent);
    assert_eq!(transcript.boundaries.len(), said.len(), "one behind each line");
    let seen = transcript.events();
    let seen = seen.iter().map(|guess::server::Event::Guessed { guess, .. }| *guess);
    assert!(seen.eq(guesses[..used].iter().copied()));
    let is_over = matches!(said.last(), Some(Message::Win | Message::GameOver));
    assert_eq!(transcript.outcome == Outcome::Done, is_over);
}

/// Lines that the fuzzer chose, changed so that `M` can send each.
fn sendable<M: Machine>(draw: &mut Draw<'_>) -> Vec<Vec<u8>> {
    let mut lines = draw.texts();
    for line in &mut lines {
        line.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        line.truncate(M::MIN_OUTPUT - 1);
    }
    lines
}

/// `guess_client`: 0 and five guesses, or 1 and lines that are sent unchecked.
pub fn guess_client(mut draw: Draw<'_>) {
    let mut given: Vec<Vec<u8>> = vec![];
    let (bytes, end, transcript) = drive(&mut draw, |draw| {
        if draw.byte() & 1 != 0 {
            given = sendable::<guess::Client>(draw);
            return GuessClient::unchecked(&given);
        }
        let guesses = [(); 5].map(|()| i32::from(draw.byte()) - 20);
        given = guesses.iter().map(|guess| guess.to_string().into_bytes()).collect();
        GuessClient::new(&guesses)
    });
    let (mut told, mut asked, mut is_over) = (vec![], 0, false);
    for line in lines(bytes) {
        if is_over || asked > given.len() {
            break;
        }
        told.push(match Message::parse(line) {
            Some(message) => {
                asked += usize::from(message == Message::Guess);
                is_over = matches!(message, Message::Win | Message::GameOver);
                GuessEvent::Message(message)
            }
            None => GuessEvent::Line(line.to_vec()),
        });
    }
    assert_eq!(transcript.events(), told);
    assert_eq!(transcript.outcome == Outcome::Done, is_over);
    let sent =
        |n: usize| given[..n].iter().flat_map(|g| [g, &b"\n"[..]].concat()).collect::<Vec<_>>();
    let count = asked.min(given.len());
    let is_late = end.is_some() && count > 0 && transcript.sent == sent(count - 1);
    assert!(transcript.sent == sent(count) || is_late);
}

/// `rps_server`: three choices.
pub fn rps_server(mut draw: Draw<'_>) {
    let mut ours = [Choice::Paper; 3];
    let (bytes, end, transcript) = drive(&mut draw, |draw| {
        ours = choices(draw);
        RpsServer::new(&ours)
    });
    let (mut lines, mut sent, mut told) = (lines(bytes), CHOOSE.to_vec(), vec![]);
    let mut is_over = false;
    for (index, choice) in ours.into_iter().enumerate() {
        let Some(Ok(theirs)) = lines.next().map(Choice::parse) else { break };
        let round = Round::of(theirs, choice);
        told.extend([rps::server::Event::Chosen, rps::server::Event::Round(round)]);
        let line = round.to_string();
        sent.extend_from_slice(&[line.as_bytes(), b"\n"].concat());
        if lines.next() != Some(line.as_bytes()) {
            break;
        }
        is_over = index == 2;
        if !is_over {
            sent.extend_from_slice(CHOOSE);
        }
    }
    // The end may have been seen in the application's turn.
    if end.is_none() {
        assert_eq!((&transcript.sent, transcript.events()), (&sent, told));
    } else {
        assert!(sent.starts_with(&transcript.sent) && told.starts_with(&transcript.events()));
    }
    assert_eq!(transcript.outcome == Outcome::Done, is_over);
}

/// `rps_client`: 0 and three choices, or 1 and lines that are sent unchecked.
pub fn rps_client(mut draw: Draw<'_>) {
    let mut ours: Vec<(Vec<u8>, Option<Choice>)> = vec![];
    let (_, _, transcript) = drive(&mut draw, |draw| {
        if draw.byte() & 1 != 0 {
            let lines = sendable::<rps::Client>(draw);
            ours = lines.iter().map(|line| (line.clone(), None)).collect();
            return RpsClient::unchecked(&lines);
        }
        let choices = choices(draw);
        ours = choices.iter().map(|choice| (choice.name().into(), Some(*choice))).collect();
        RpsClient::new(&choices)
    });
    // What is sent: a line for each prompt, and its line back for each round.
    let (mut sent, mut chosen) = (vec![], ours.into_iter());
    let (mut rounds, mut last) = (0, None);
    for emitted in &transcript.emitted {
        match &emitted.event {
            RpsEvent::Prompt(_) => {
                last = chosen.next();
                sent.extend(last.iter().map(|(line, _)| line.clone()));
            }
            RpsEvent::Round(round) => {
                // A verdict on an unchecked line may be on any choice.
                let choice = last.as_ref().expect("a round without a choice").1;
                assert!(choice.is_none_or(|choice| choice == round.player1));
                assert_eq!(*round, Round::of(round.player1, round.player2));
                sent.push(round.to_string().into_bytes());
                rounds += 1;
            }
            RpsEvent::Line(_) => {}
        }
    }
    assert_eq!(transcript.outcome == Outcome::Done, rounds == 3);
    let all: Vec<u8> = sent.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
    let (all, text) = (without_style(&all), without_style(&transcript.sent));
    let count = transcript.sent.iter().filter(|byte| **byte == b'\n').count();
    assert!(all.starts_with(&text) && sent.len() <= count + 1, "{text:?} of {all:?}");
}

/// The bytes without what people's servers write in more than one way, which they get back as they wrote it: "win!" for
/// "wins!", and spaces behind a comma.
fn without_style(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace(" win!", " wins!");
    let fields = text.split(',').enumerate();
    let trimmed: Vec<&str> =
        fields.map(|(n, field)| if n == 0 { field } else { field.trim_ascii_start() }).collect();
    trimmed.join(",")
}
