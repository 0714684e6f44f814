//! Remotes: what one machine computed is used by another, and nothing that is damaged, half there or of strangers is.
#![cfg(all(feature = "train", feature = "remote"))]

mod machines;
mod place;
mod servers;
mod walk;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use machines::{Machine, STAGES, Shelf};
use servers::Web;

#[test]
fn a_clean_machine_with_a_remote_trains_nothing_and_reports_the_same() {
    let (shelf, buckets) = (Shelf::new(), Shelf::new());
    let first = Machine::that_signs().with_s3(buckets.0.path());
    let (directory, s3) = (shelf.address(), "s3://results/of/a/team");
    let table = first.table(&format!("--remote {directory} --push"));
    assert_eq!(shelf.verify(), STAGES);
    let said = first.ftp(&format!("push p.ftp --to {s3}"), 0).out;
    assert!(said.starts_with("4 results pushed to s3://results/of/a/team"), "{said}");
    let said = first.ftp(&format!("push p.ftp --to {s3}"), 0).out;
    assert!(said.starts_with("0 results pushed") && said.contains("0 B; 4 were there"), "{said}");

    let report = sections(&first);
    assert_eq!(report.len(), SECTIONS.len());
    let web = Web::new(Path::new(&directory));
    for remote in [directory.clone(), format!("http://{}", web.address), s3.to_owned()] {
        let mut other = Machine::that_trusts(&first);
        other.environment.clone_from(&first.environment);
        let plan = other.ftp(&format!("plan p.ftp --remote {remote}"), 0).out;
        assert!(plan.contains("pull"), "{plan}");
        let (computed, notices) = other.run(&format!("--locked --remote {remote}"));
        assert_eq!((computed, notices.len()), (0, 0), "with {remote}: {notices:?}");
        assert_eq!(other.table("--locked"), table, "with {remote}");
        assert_eq!(sections(&other), report, "with {remote}");
        let published =
            |machine: &Machine| fs::read(machine.place.at("out/full/model.safetensors")).expect("published");
        assert_eq!(published(&other), published(&first));
        other.ftp("cache verify", 0);
    }
    println!(
        "3 clean machines, from a directory, the web and S3: 0 of {STAGES} stages computed, the same table, report and model"
    );
}

/// What a report says of results: not when, where and by whom they were computed.
const SECTIONS: [&str; 5] = ["results", "curves", "confusion", "data", "notices"];

fn sections(machine: &Machine) -> Vec<String> {
    machine.ftp("report p.ftp -o r.html", 0);
    let html = machine.place.read("r.html");
    let section = |id: &&str| {
        let from = html.find(&format!("<section id=\"{id}\">"))?;
        Some(html[from..][..html[from..].find("</section>")?].to_owned())
    };
    SECTIONS.iter().filter_map(section).collect()
}

#[test]
fn a_delta_is_pulled_with_its_base_and_pipelines_are_pushed_alone() {
    let (shelf, first) = (Shelf::new(), Machine::that_signs());
    first.run("");
    let said = first.ftp(&format!("push light --to {}", shelf.address()), 0).out;
    assert!(said.starts_with("3 results pushed"), "{said}");
    let objects = shelf.objects();
    let key = objects.iter().find(|(name, content)| {
        let text = String::from_utf8_lossy(content);
        name.starts_with("results/") && text.contains("\"method\":\"finetune\"") && text.contains("\"base\":\"")
    });
    let key = Path::new(key.expect("a delta").0).file_stem().expect("a key").display().to_string();

    let other = Machine::that_trusts(&first);
    let said = other.ftp(&format!("pull {key} --from {}", shelf.address()), 0).out;
    assert!(said.contains("3 results pulled"), "{said}");
    let (computed, _) = other.run("light --locked");
    assert_eq!(computed, 0);

    // What it is a delta of is verified, too.
    let of_base = objects.keys().filter(|name| name.starts_with("outputs/"));
    for object in of_base.filter(|name| !String::from_utf8_lossy(&objects[*name]).contains(&key)) {
        let mut damaged = objects[object].clone();
        damaged[200] ^= 1;
        shelf.put(object, &damaged);
        let machine = Machine::that_trusts(&first);
        let said = machine.ftp(&format!("pull {key} --from {}", shelf.address()), 1);
        assert!(said.err.contains("ftp::remote::damaged") && said.out.contains("0 results pulled"), "{}", said.err);
        shelf.put(object, &objects[object]);
    }
    let nothing = other.ftp(&format!("pull {} --from {}", "0".repeat(64), shelf.address()), 1);
    assert!(nothing.err.contains("ftp::remote::absent"), "{}", nothing.err);
}

#[test]
fn results_of_strangers_are_not_taken_unless_that_is_said() {
    let (signed, unsigned) = (Shelf::new(), Shelf::new());
    let stranger = Machine::that_signs();
    stranger.run(&format!("--push --remote {}", signed.address()));
    let nobody = Machine::new();
    let refused = nobody.ftp(&format!("push p.ftp --to {}", unsigned.address()), 2);
    assert!(refused.err.contains("ftp::key::none"), "{}", refused.err);
    nobody.run(&format!("--push --allow-unsigned --remote {}", unsigned.address()));

    for (shelf, code) in [(&signed, "ftp::remote::untrusted"), (&unsigned, "ftp::remote::unsigned")] {
        let machine = Machine::new();
        let refused = machine.ftp(&format!("pull p.ftp --from {}", shelf.address()), 1);
        assert!(refused.err.contains(code) && refused.out.contains("0 results pulled"), "{}", refused.err);
        // A run says so, counts the others, and computes everything itself.
        let (computed, notices) = machine.run(&format!("--remote {}", shelf.address()));
        assert_eq!((computed, notices), (STAGES, vec![code.to_owned(), code.to_owned()]));
        let willing = Machine::new();
        assert_eq!(willing.run(&format!("--allow-unsigned --remote {}", shelf.address())).0, 0);
    }

    let machine = Machine::that_trusts(&stranger);
    let both = "key distrust them";
    assert!(machine.ftp("key show", 0).out.contains("trusted: them"));
    machine.ftp(both, 0);
    machine.ftp(both, 1);
    assert!(machine.ftp(&format!("pull p.ftp --from {}", signed.address()), 1).err.contains("untrusted"));
}

/// Each object in turn is damaged in one of several ways, and a clean machine asked to take everything.
#[test]
fn nothing_that_was_changed_on_a_remote_is_used() {
    let (shelf, first) = (Shelf::new(), Machine::that_signs());
    first.run(&format!("--push --remote {}", shelf.address()));
    let stranger = Machine::that_signs();
    let objects = shelf.objects();
    let contents: Vec<&Vec<u8>> = objects.values().collect();
    let mut refused = 0;
    for (nth, (object, content)) in objects.iter().enumerate() {
        let mut flipped = content.clone();
        match flipped.is_empty() {
            true => flipped.push(b'x'),
            false => flipped[content.len() * (nth % 7) / 7] ^= 1 << (nth % 8),
        }
        let another = contents[(nth + 1) % contents.len()].clone();
        let cut = content[..content.len() / 2].to_vec();
        for (how, damaged) in [("a bit", flipped), ("another's", another), ("cut", cut)] {
            // An empty file can't be cut.
            if damaged == *content {
                continue;
            }
            shelf.put(object, &damaged);
            let machine = Machine::that_trusts(&first);
            let output = machine.command(&format!("pull p.ftp --from {}", shelf.address())).output().expect("starts");
            let err = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                // A manifest by output that nobody asked for, since no delta was pulled without its base being there.
                Some(0) => assert!(object.starts_with("outputs/"), "{how} of {object} was not noticed"),
                Some(1) => {
                    assert!(err.contains("ftp::remote::"), "{how} of {object}: {err}");
                    refused += 1;
                }
                code => panic!("{how} of {object}: {code:?} {err}"),
            }
            machine.ftp("cache verify", 0);
        }
        shelf.put(object, content);
    }
    println!("{refused} of {} changes were refused", objects.len() * 3);
    assert!(refused > objects.len() * 2, "{refused} of {} were refused", objects.len() * 3);

    // A manifest that somebody else has signed, under the name of the one who is trusted.
    let (object, content) = objects.iter().find(|(name, _)| name.starts_with("results/")).expect("one");
    let key = |machine: &Machine| machine.ftp("key show", 0).out.split_whitespace().next().expect("a key").to_owned();
    let own = Shelf::new();
    stranger.run(&format!("--push --remote {}", own.address()));
    let forged = String::from_utf8(own.objects()[object].clone()).expect("text").replace(&key(&stranger), &key(&first));
    assert_ne!(forged.as_bytes(), content);
    shelf.put(object, forged.as_bytes());
    let machine = Machine::that_trusts(&first);
    let said = machine.ftp(&format!("pull p.ftp --from {}", shelf.address()), 1);
    assert!(said.err.contains("ftp::remote::forged"), "{}", said.err);
    shelf.put(object, content);
}

#[test]
fn what_is_damaged_on_a_remote_is_computed_again_and_put_right_by_who_may_push() {
    let (shelf, first) = (Shelf::new(), Machine::that_signs());
    first.run(&format!("--push --remote {}", shelf.address()));
    let objects = shelf.objects();
    let largest =
        objects.iter().filter(|(name, _)| name.starts_with("blobs/")).max_by_key(|(_, content)| content.len());
    let (object, content) = largest.expect("a blob");
    let mut damaged = content.clone();
    damaged[content.len() / 2] ^= 1;
    shelf.put(object, &damaged);

    let second = Machine::that_signs();
    second.trust("first", &first);
    let (computed, notices) = second.run(&format!("--push --remote {}", shelf.address()));
    assert!(computed >= 1 && notices.contains(&"ftp::remote::damaged".to_owned()), "{computed} {notices:?}");
    assert_eq!(&shelf.objects()[object], content, "it is whole again");
    assert_eq!(shelf.verify(), STAGES);

    shelf.put(object, &damaged);
    first.ftp(&format!("push p.ftp --replace --to {}", shelf.address()), 0);
    assert_eq!(&shelf.objects()[object], content);
}

#[test]
fn a_push_that_is_killed_leaves_nothing_half_there() {
    let first = Machine::that_signs();
    first.run("");
    let whole = Shelf::new();
    let started = Instant::now();
    first.ftp(&format!("push p.ftp --to {}", whole.address()), 0);
    let duration = started.elapsed();
    assert_eq!(whole.verify(), STAGES);
    let (mut killed, rounds) = (0, 30);
    let shelf = Shelf::new();
    for round in 0..rounds {
        // Half of them go on from what the last left.
        if round % 2 == 0 {
            let _ = fs::remove_dir_all(shelf.address());
        }
        let mut push = first.command(&format!("push p.ftp --to {}", shelf.address()));
        let mut push = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ftp starts");
        std::thread::sleep(duration * round / rounds);
        let ended = push.try_wait().expect("known").is_some();
        push.kill().expect("killed");
        push.wait().expect("known");
        killed += u32::from(!ended);
        shelf.verify();
    }
    assert!(killed >= rounds / 3, "only {killed} of {rounds} were killed before their end");
    println!("{killed} pushes killed: never a manifest without all it names");
    first.ftp(&format!("push p.ftp --to {}", shelf.address()), 0);
    assert_eq!(shelf.verify(), STAGES);
    assert_eq!(Machine::that_trusts(&first).run(&format!("--remote {}", shelf.address())).0, 0);
}

#[test]
fn any_number_may_push_and_pull_at_a_time() {
    let shelf = Shelf::new();
    let machines = [Machine::that_signs(), Machine::that_signs(), Machine::that_signs()];
    for (machine, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        machines[machine].trust(&format!("m{other}"), &machines[other]);
    }
    // The same work at the same time: what one has pushed another may pull, and all give it.
    fs::create_dir(shelf.address()).expect("made");
    let runs = machines.each_ref().map(|machine| {
        let mut run = machine.command(&format!("run p.ftp --push --remote {}", shelf.address()));
        run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ftp starts")
    });
    for mut run in runs {
        assert!(run.wait().expect("it ends").success());
    }
    assert_eq!(shelf.verify(), STAGES);
    let last = Machine::that_trusts(&machines[0]);
    last.trust("two", &machines[1]);
    last.trust("three", &machines[2]);
    assert_eq!(last.run(&format!("--remote {}", shelf.address())), (0, vec![]));
}

#[test]
fn a_remote_that_can_t_be_used_is_said_and_the_run_goes_on() {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let machine = Machine::new();
    let (computed, notices) = machine.run(&format!("full --remote http://127.0.0.1:{port}"));
    assert_eq!(computed, 2);
    assert_eq!(notices[0], "ftp::remote::unreachable");
    let gone = machine.ftp(&format!("pull p.ftp light --from {}", machine.place.at("no/such").display()), 1);
    assert!(gone.err.contains("ftp::remote::unreachable"), "{}", gone.err);

    let read_only = machine.ftp(&format!("run p.ftp --push --allow-unsigned --remote http://127.0.0.1:{port}"), 2);
    assert!(read_only.err.contains("ftp::remote::read_only"), "{}", read_only.err);
    let nowhere = machine.ftp("run p.ftp --push", 2);
    assert!(nowhere.err.contains("--remote"), "{}", nowhere.err);

    // Credentials that the server does not take.
    let buckets = Shelf::new();
    let mut wrong = Machine::new().with_s3(buckets.0.path());
    wrong.environment.push(("AWS_SECRET_ACCESS_KEY", "another".into()));
    let (computed, notices) = wrong.run("full --remote s3://results");
    assert_eq!((computed, notices[0].as_str()), (2, "ftp::remote::refused"));
}
