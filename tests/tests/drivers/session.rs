//! Sessions and their buffers.

use socklab_core::driver::blocking;
use socklab_core::session::{Buffer, Session, TooSmall};
use socklab_core::{echo, math};
use socklab_tests::transport::Stream;

#[test]
fn buffers_that_are_too_small_are_refused() {
    let error = TooSmall { min_input: 44, min_output: 4 };
    assert_eq!(Session::new(echo::Server::new(), [0; 43], [0; 4]).err(), Some(error));
    assert_eq!(Session::new(echo::Server::new(), [0; 44], [0; 3]).err(), Some(error));
    assert!(Session::new(echo::Server::new(), [0; 44], [0; 4]).is_ok());
    let stream = Stream::new(b"", Ok(()), 1, 1);
    assert!(blocking::Connection::new(stream, math::Client::new(), [0; 8], [0; 4]).is_err());
}

#[test]
fn a_buffer_moves_its_bytes_to_the_front_only_when_space_is_short() {
    let mut buffer = Buffer::new([0; 8]);
    assert_eq!((buffer.capacity(), buffer.space(8).len()), (8, 8));
    buffer.space(8)[..6].copy_from_slice(b"abcdef");
    buffer.fill(6);
    buffer.consume(4);
    // Two free bytes at the back are enough for two, but not for three: then the bytes move to the
    // front.
    assert_eq!((buffer.space(2).len(), buffer.bytes()), (2, &b"ef"[..]));
    assert_eq!((buffer.space(3).len(), buffer.bytes()), (6, &b"ef"[..]));
    // Asking for more than the capacity is no error and returns what is free.
    assert_eq!((buffer.space(100).len(), buffer.bytes()), (6, &b"ef"[..]));
    buffer.fill(100);
    assert_eq!((buffer.bytes().len(), buffer.space(1).len()), (8, 0));
    buffer.consume(100);
    assert_eq!((buffer.bytes().len(), buffer.space(1).len()), (0, 8));
    buffer.fill(3);
    buffer.clear();
    assert_eq!((buffer.bytes().len(), buffer.space(1).len()), (0, 8));
}
