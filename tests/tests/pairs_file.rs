//! Both ends of file over a simulated link must agree on what was fetched.

use socklab_core::file::Form;
use socklab_tests::pair::{Faults, run_pair};
use socklab_tests::rng::Rng;
use socklab_tests::role::{FileClient, FileServer, file_agrees};

const SEEDS: u64 = 600;

fn file(rng: &mut Rng) -> Vec<u8> {
    let length = if rng.percent(20) { rng.below(3) } else { rng.below(700) };
    (0..length).map(|_| rng.bits() as u8).collect()
}

fn form(rng: &mut Rng, length: usize) -> Form {
    if rng.percent(30) {
        return Form::Plain;
    }
    // The offset may be beyond the end.
    Form::Checked { offset: if rng.percent(50) { 0 } else { rng.below(length + 3) as u64 } }
}

fn client(rng: &mut Rng, form: Form) -> FileClient {
    let client = FileClient::new(b"notes", form);
    if rng.percent(50) { client.bare() } else { client }
}

#[test]
fn ends_agree_over_any_link_without_faults() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0xf11e);
        let file = file(&mut rng);
        let form = form(&mut rng, file.len());
        let faults = Faults { link: rng.within(1, 200), ..Faults::draw(&mut rng) };
        let both =
            run_pair(&client(&mut rng, form), &FileServer::new(&file), &faults, seed).unwrap();
        file_agrees((b"notes", form), &file, &faults, &both)
            .unwrap_or_else(|e| panic!("{seed}: {e}"));
    }
}

#[test]
fn ends_agree_up_to_a_reset() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed ^ 0x5e7);
        let file = file(&mut rng);
        let form = form(&mut rng, file.len());
        let reset_after = Some(rng.below(2 * file.len() + 60));
        let faults = Faults { reset_after, link: rng.within(1, 200), ..Faults::draw(&mut rng) };
        let both =
            run_pair(&client(&mut rng, form), &FileServer::new(&file), &faults, seed).unwrap();
        file_agrees((b"notes", form), &file, &faults, &both)
            .unwrap_or_else(|e| panic!("{seed}: {e}"));
        *if both.0.ended.is_ok() { &mut whole } else { &mut cut } += 1;
    }
    assert!(
        cut > 50 && whole > 10,
        "the resets hit too rarely or too often: {cut} cut, {whole} whole"
    );
}
