//! Runs a program of `tests/firmware` on the emulated board and shows its log. `tests/firmware/run`
//! starts it.

mod decode;

use std::process::ExitCode;
use std::time::Duration;

use decode::decode;
use socklab_tests::board::{HOST, Launch};
use socklab_tests::program::Server;

/// The board runs until Ctrl-C, which ends QEMU too.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let given = |name| args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));

    let mut launch =
        Launch::new(&program, decode).deadline(NO_LIMIT).show(|line| println!("board: {line}"));
    for arg in &args {
        launch = launch.arg(arg);
    }
    let (protocol, port) = match program.as_str() {
        "math-client" | "uart-math-client" | "udp-client" => {
            let protocol = if program == "udp-client" { "udp" } else { "math" };
            let server = given("to").is_none().then(|| Server::start(protocol, &[]));
            if let Some(Server { addr, .. }) = &server {
                print!("here:  socklab {protocol} server listens on {addr}, ");
                if program == "uart-math-client" {
                    println!("the board's UART0");
                    launch = launch.serial(*addr);
                } else {
                    println!("{HOST} to the board");
                    launch = launch.arg(format!("to={HOST}:{}", addr.port()));
                }
            }
            let ended = launch.start().finish();
            if let Some(server) = server.filter(|_| protocol == "math") {
                println!("here:  {}", server.process.wait_for("correct, secret sent"));
            }
            return code(ended.code);
        }
        "math-server" => ("math", 8000),
        "echo-server" => ("echo", 4567),
        "udp-server" => ("udp", 3456),
        _ => {
            eprintln!(
                "expected math-client, uart-math-client, udp-client, math-server, echo-server or udp-server"
            );
            return ExitCode::from(2);
        }
    };
    let port = given("port").map_or(Ok(port), str::parse);
    let Ok(port) = port else {
        eprintln!("a port is a number up to 65535");
        return ExitCode::from(2);
    };
    let launch =
        if protocol == "udp" { launch.forward_datagrams(port) } else { launch.forward(port) };
    let mut board = launch.start();
    let addr = board.listening();
    let message = if protocol == "math" { "" } else { " \"Four score and seven\"" };
    println!("here:  Ctrl-C ends it. In another terminal:");
    println!(
        "here:  cargo run --release -- {protocol} client {} {}{message}",
        addr.ip(),
        addr.port()
    );
    code(board.finish().code)
}

fn code(code: Option<i32>) -> ExitCode {
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
