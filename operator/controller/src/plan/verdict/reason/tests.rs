use ampacity_placement::{Level, PowerClosure, Watts};

use super::*;

#[test]
fn one_is_told_as_one_and_many_as_many() {
    let one = DevicePart::Mig("1g.10gb".into());
    let part = |exists| Reason::NoSuchPart {
        wanted: "nvidia-h100-sxm5-80gb".into(),
        part: DevicePart::Whole,
        exists,
    };
    for (reason, clause) in [
        (
            Reason::InsufficientCapacity {
                needed: 1,
                total: 0,
            },
            "1 device is needed, only 0 exist",
        ),
        (
            Reason::InsufficientCapacity {
                needed: 2,
                total: 1,
            },
            "2 devices are needed, only 1 exists",
        ),
        (
            Reason::InsufficientDevices {
                needed: 1,
                available: 0,
            },
            "1 device is needed, 0 free",
        ),
        (
            Reason::Fragmented {
                needed: 1,
                fitting: 0,
                available: 1,
            },
            "1 device is free but spread over nodes: 0 of 1 replica fit",
        ),
        (
            Reason::Fragmented {
                needed: 2,
                fitting: 1,
                available: 9,
            },
            "9 devices are free but spread over nodes: 1 of 2 replicas fits",
        ),
        (
            Reason::TopologyTooSmall {
                level: Level::Rack,
                needed: 4,
                fitting: 1,
            },
            "no single Rack holds the gang: at most 1 of 4 replicas fits",
        ),
        (
            part(vec![(one.clone(), 1)]),
            "nodes have nvidia-h100-sxm5-80gb, but not as whole devices: there is only 1 × MIG 1g.10gb",
        ),
        (
            part(vec![(one, 2)]),
            "nodes have nvidia-h100-sxm5-80gb, but not as whole devices: there are only 2 × MIG 1g.10gb",
        ),
        (
            Reason::Promised { gangs: 1 },
            "there is room, but it is kept for 1 gang that comes first, and the job would not be over by then",
        ),
    ] {
        assert_eq!(reason_text(&reason).clause, clause);
    }
}

#[test]
fn no_limit_has_less_than_nothing_left() {
    let domain = |headroom_watts| Reason::PowerDomainExceeded {
        domain: "hall-7".into(),
        needed_watts: Watts(40_800),
        headroom_watts: Watts(headroom_watts),
    };
    let budget = |headroom_watts| Reason::PowerBudgetExceeded {
        budget: "grid".into(),
        needed_watts: Watts(40_800),
        headroom_watts: Watts(headroom_watts),
    };
    for (reason, clause, left) in [
        (
            domain(600),
            "power domain hall-7 has 600 W left, 40800 W needed",
            600,
        ),
        (
            domain(-81_000),
            "power domain hall-7 has nothing left: 81000 W more are reserved or promised than it allows; 40800 W needed",
            0,
        ),
        (
            budget(-1),
            "power budget grid has nothing left: 1 W more are reserved or promised than it allows; 40800 W needed",
            0,
        ),
    ] {
        let text = reason_text(&reason);
        assert_eq!(text.clause, clause);
        let fact = |wanted| {
            let mut facts = text.facts.iter();
            facts
                .find(|(name, _)| *name == wanted)
                .map(|(_, fact)| fact)
        };
        assert_eq!(fact("headroomWatts"), Some(&Fact::Watts(Watts(left))));
        assert_eq!(fact("exceededByWatts").is_some(), left == 0, "{clause}");
    }
}

#[test]
fn the_book_explains_every_reason() {
    let book =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/troubleshooting.md");
    let book = std::fs::read_to_string(book).unwrap();
    let rows: Vec<&str> = book
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for name in ReasonName::ALL {
        let word = format!("`{name}`");
        let explained = rows.iter().any(|row| {
            let first = row.split(" | ").next().unwrap_or_default();
            first.contains(&word)
        });
        assert!(
            explained,
            "docs/src/troubleshooting.md says nothing of {word}"
        );
    }
}

#[test]
fn a_closed_domain_is_told_with_what_closes_it() {
    let told = |why: PowerClosure| {
        let reason = Reason::PowerDomainClosed {
            domain: "row".into(),
            why,
            needed_watts: Watts(10),
        };
        let text = reason_text(&reason);
        (text.name, text.clause)
    };
    let parent = |name: &str| PowerClosure::Cycle {
        parent: name.to_owned(),
    };
    for (why, name, words) in [
        (
            parent("hall"),
            ReasonName::PowerDomainCycle,
            "by way of its parent hall",
        ),
        (
            parent("row"),
            ReasonName::PowerDomainCycle,
            "names itself in spec.parents",
        ),
        (
            PowerClosure::Terminating,
            ReasonName::PowerDomainTerminating,
            "is being deleted and carries nothing new; put its nodes under another one",
        ),
    ] {
        let (told_name, clause) = told(why);
        assert_eq!(told_name, name);
        assert!(clause.contains(words), "{clause}");
    }
}
