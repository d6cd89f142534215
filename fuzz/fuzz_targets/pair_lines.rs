//! The two ends of add, or of hello, talk over a link that the fuzzer makes bad.
//!
//! Invariant: no panic, no deadlock; both ends agree on what was said. Without a reset both end
//! well; with one, each knows a front of the whole, and names the reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::add::Form;
use socklab_fuzz::{faults, name, seed};
use socklab_tests::draw::Draw;
use socklab_tests::pair::run_pair;
use socklab_tests::role::{
    AddClient, AddServer, HelloClient, HelloServer, add_agrees, hello_agrees,
};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let flags = draw.byte();
    let faults = faults(&mut draw, flags);
    let seed = seed(&mut draw);
    let agrees = if flags & 8 == 0 {
        let [one, two] = [(); 2].map(|()| i32::from(draw.byte()) - 64);
        let form = draw.byte();
        let separator = b"\n,:;| \t\n"[usize::from(form >> 2 & 7)];
        let form = Form { separator, space: form & 1 != 0, newline: true };
        let client = AddClient::new(&name(&mut draw), one).form(form);
        let client = if form.space { client.apart() } else { client };
        let server = AddServer::new(&name(&mut draw), two);
        run_pair(&client, &server, &faults, seed)
            .and_then(|ends| add_agrees(&client, &server, &faults, &ends))
    } else {
        let both = flags & 16 != 0;
        let server = HelloServer { both, split: draw.byte() };
        run_pair(&HelloClient { both }, &server, &faults, seed)
            .and_then(|ends| hello_agrees(both, &faults, &ends))
    };
    if let Err(what) = agrees {
        panic!("{what}");
    }
});
