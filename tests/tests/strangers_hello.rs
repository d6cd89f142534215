//! Hello with the programs that people write: greetings without a newline, and ends that read nothing.

use socklab_core::machine::{How, Need};
use socklab_tests::role::{HelloClient, HelloServer};
use socklab_tests::script::{Outcome, Script, every_cut, every_cut_of, every_truncation_of, hold};

#[test]
fn a_greeting_without_newline_is_taken_after_a_silence_where_the_server_waits() {
    let script = Script { silences: &[2, 5], ..Script::new(b"Hello\nmore", None) };
    let transcript = hold(every_truncation_of(&HelloClient { both: true }, &script));
    assert_eq!(transcript.events(), [b"He"]);
    assert_eq!((transcript.consumed, transcript.outcome), (2, Outcome::Done));
    assert_eq!(transcript.sent, b"Hello from client\n");
    // A client that has nothing to say waits for the rest.
    let transcript = hold(every_truncation_of(&HelloClient { both: false }, &script));
    assert_eq!((transcript.events(), transcript.consumed), (vec![b"Hello".to_vec()], 6));
    // Silence before the first byte is only slow.
    let script = Script { silences: &[0], ..Script::new(b"Hello\n", None) };
    let transcript = hold(every_truncation_of(&HelloClient { both: true }, &script));
    assert_eq!(transcript.events(), [b"Hello"]);
    let slow = Script { silences: &[0], ..Script::new(b"", None) };
    let transcript = hold(every_cut_of(&HelloClient { both: true }, &slow));
    assert_eq!(transcript.outcome, Outcome::Waiting(Need::Input));
}

#[test]
fn a_clients_greeting_without_newline_is_taken_after_a_silence_and_at_the_close() {
    let role = HelloServer { both: true, split: 8 };
    let silent = Script { silences: &[2], ..Script::new(b"Hi", None) };
    for transcript in [
        hold(every_truncation_of(&role, &silent)),
        hold(every_cut(&role, b"Hi", Some(How::Closed))),
    ] {
        assert_eq!(
            (transcript.events(), transcript.outcome),
            (vec![b"Hi".to_vec()], Outcome::Done)
        );
    }
    let reset = hold(every_cut(&role, b"Hi", Some(How::Reset)));
    assert_eq!(
        reset.sentence(),
        "the client reset the connection in the middle of a message, after 2 bytes"
    );
}
