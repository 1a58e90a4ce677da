//! Planning, against histories that are made up and against every way there is.

use super::*;
use proptest::prelude::*;

fn known(content: Content, start_frame_no: u64, end_frame_no: u64) -> Known {
    Known {
        content,
        start_frame_no,
        end_frame_no,
        page_size: PageSize::new(512).unwrap(),
        db_size_pages: 9,
        image_count: end_frame_no + 1 - start_frame_no,
        bytes: 100,
    }
}

type Bundle = (Level, Known);

fn level(number: u8) -> Level {
    Level::from_code(number).unwrap()
}

fn name(bundle: &Bundle) -> u64 {
    if bundle.0 == Level::SNAPSHOT { bundle.1.end_frame_no } else { bundle.1.start_frame_no }
}

/// Plan as a caller does: from the names alone, opening what is asked for. Also how many were opened.
fn plan_in_steps(bundles: &[Bundle], goal: Goal) -> (Result<Plan, NoPlan>, usize) {
    let mut catalog = Catalog::default();
    for bundle in bundles {
        catalog.set(bundle.0, name(bundle), Knowledge::Listed);
    }
    let mut opened = 0;
    loop {
        match plan(&catalog, goal) {
            Err(problem) => return (Err(problem), opened),
            Ok(Step::Ready(plan)) => return (Ok(plan), opened),
            Ok(Step::Look(look)) => {
                assert!(!look.is_empty() && look.len() <= LOOK_MAX + 4);
                for (level, frame_no) in look {
                    assert_eq!(catalog.get(level, frame_no), Some(Knowledge::Listed), "asked for twice");
                    let bundle =
                        bundles.iter().find(|bundle| (bundle.0, name(bundle)) == (level, frame_no)).unwrap();
                    catalog.set(level, frame_no, Knowledge::Known(bundle.1));
                    opened += 1;
                }
            }
        }
    }
}

fn steps(bundles: &[Bundle], goal: Goal) -> Result<Plan, NoPlan> {
    plan_in_steps(bundles, goal).0
}

/// A base snapshot, `count` bundles of two frames each, and what merging four at a time makes of them.
fn leveled(count: u64) -> Vec<Bundle> {
    let mut bundles = vec![(level(0), known(Content::FullImage, 0, 10))];
    for number in 0..count {
        let start = 11 + number * 2;
        bundles.push((level(0), known(Content::EveryFrame, start, start + 1)));
    }
    for (above, width) in [(1u8, 8), (2, 32), (3, 128)] {
        for number in 0..count * 2 / width {
            let start = 11 + number * width;
            bundles.push((level(above), known(Content::LastImages, start, start + width - 1)));
        }
    }
    bundles
}

fn shape(plan: &Plan) -> Vec<(String, u64, u64)> {
    let piece =
        |piece: &Piece| (piece.level.to_string(), piece.known.start_frame_no, piece.known.end_frame_no);
    plan.pieces.iter().map(piece).collect()
}

#[test]
fn the_highest_levels_are_taken_as_far_as_they_go() {
    let bundles = leveled(95);
    let (plan, opened) = plan_in_steps(&bundles, Goal::Latest);
    let plan = plan.unwrap();
    let expected = [(0, 0, 10), (3, 11, 138), (2, 139, 170), (1, 171, 178), (1, 179, 186), (1, 187, 194)]
        .into_iter()
        .chain([(0, 195, 196), (0, 197, 198), (0, 199, 200)]);
    let expected: Vec<_> = expected.map(|(level, start, end)| (format!("{level}"), start, end)).collect();
    assert_eq!(shape(&plan), expected);
    assert_eq!((plan.end_frame_no, plan.is_cut()), (200, false));
    assert!(opened < 45, "{opened} bundles were opened");
}

#[test]
fn few_bundles_of_a_long_log_are_opened() {
    let mut bundles = leveled(20_000);
    bundles.push((Level::SNAPSHOT, known(Content::FullImage, 0, 30_010)));
    let (plan, opened) = plan_in_steps(&bundles, Goal::Latest);
    assert_eq!(plan.unwrap().pieces[0].level, Level::SNAPSHOT);
    assert!(opened < 200, "{opened} bundles were opened");
}

#[test]
fn the_last_bundle_is_cut() {
    let plan = steps(&leveled(95), Goal::Frame(195)).unwrap();
    assert_eq!(shape(&plan).last().unwrap(), &("0".to_owned(), 195, 196));
    assert_eq!((plan.end_frame_no, plan.is_cut()), (195, true));
}

#[test]
fn a_snapshot_shortens_the_way() {
    let mut bundles = leveled(95);
    bundles.push((Level::SNAPSHOT, known(Content::FullImage, 0, 150)));
    bundles.push((Level::SNAPSHOT, known(Content::FullImage, 0, 198)));
    let plan = steps(&bundles, Goal::Frame(200)).unwrap();
    assert_eq!(shape(&plan), [("snapshot".to_owned(), 0, 198), ("0".to_owned(), 199, 200)]);
    // The middle of a bundle of a higher level is no obstacle, if its end is not beyond what is wanted.
    let plan = steps(&bundles, Goal::Frame(170)).unwrap();
    assert_eq!(shape(&plan), [("snapshot".to_owned(), 0, 150), ("2".to_owned(), 139, 170)]);
}

#[test]
fn a_full_image_in_the_middle_begins_anew() {
    let mut bundles = leveled(4);
    bundles.push((level(0), known(Content::FullImage, 19, 40)));
    bundles.push((level(0), known(Content::EveryFrame, 41, 45)));
    assert_eq!(shape(&steps(&bundles, Goal::Latest).unwrap()), [("0".into(), 19, 40), ("0".into(), 41, 45)]);
    assert_eq!(steps(&bundles, Goal::Frame(30)), Err(NoPlan::Merged { wanted: 30, before: 18, after: 40 }));
    assert_eq!(steps(&bundles, Goal::AtOrBefore(30)).unwrap().end_frame_no, 18);
    // Also when what was before it has been deleted.
    bundles.retain(|bundle| bundle.1.start_frame_no >= 19);
    assert_eq!(steps(&bundles, Goal::Latest).unwrap().end_frame_no, 45);
    assert_eq!(steps(&bundles, Goal::Frame(18)), Err(NoPlan::NoFullImage { wanted: 18, earliest: Some(40) }));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(steps(&[], Goal::Latest), Err(NoPlan::Empty));
    let mut bundles = leveled(3);
    assert_eq!(steps(&bundles, Goal::Frame(17)), Err(NoPlan::BeyondEnd { wanted: 17, end: 16 }));
    assert_eq!(steps(&bundles, Goal::Frame(9)), Err(NoPlan::NoFullImage { wanted: 9, earliest: Some(10) }));
    bundles.retain(|bundle| bundle.1.start_frame_no != 13);
    assert_eq!(steps(&bundles, Goal::Latest), Err(NoPlan::Gap { first: 13, last: 14 }));
    assert_eq!(steps(&bundles, Goal::AtOrBefore(16)), Err(NoPlan::Gap { first: 13, last: 14 }));
    assert_eq!(steps(&bundles, Goal::Frame(12)).unwrap().end_frame_no, 12);
    bundles.remove(0);
    assert_eq!(steps(&bundles, Goal::Latest), Err(NoPlan::NoFullImage { wanted: 16, earliest: None }));
}

#[test]
fn a_terminator_ends_the_log_and_holds_nothing() {
    let mut bundles = leveled(3);
    let successor = crate::types::LogId(uuid::Uuid::from_u128(8));
    bundles.push((level(0), known(Content::Terminator { successor }, 17, 16)));
    assert_eq!(steps(&bundles, Goal::Latest).unwrap().end_frame_no, 16);
    assert_eq!(steps(&bundles, Goal::Frame(17)), Err(NoPlan::BeyondEnd { wanted: 17, end: 16 }));
}

#[test]
fn a_damaged_bundle_is_gone_round_but_never_at_the_end() {
    let bundles = leveled(95);
    let catalog = |broken: &[(u8, u64)]| {
        let mut catalog = Catalog::default();
        for bundle in &bundles {
            catalog.set(bundle.0, name(bundle), Knowledge::Known(bundle.1));
        }
        for &(number, frame_no) in broken {
            catalog.set(level(number), frame_no, Knowledge::Unusable);
        }
        catalog
    };
    let Ok(Step::Ready(plan)) = plan(&catalog(&[(3, 11), (1, 171)]), Goal::Latest) else { panic!() };
    assert_eq!(plan.end_frame_no, 200);
    assert!(plan.pieces.iter().all(|piece| piece.level != level(3)));
    assert_eq!(super::plan(&catalog(&[(0, 199)]), Goal::Latest), Err(NoPlan::NoEnd { first: 199 }));
    let all = [(3, 11), (2, 11), (1, 11), (0, 13)];
    assert_eq!(super::plan(&catalog(&all), Goal::Frame(140)), Err(NoPlan::Gap { first: 13, last: 14 }));
}

/// A history: ends of commits, bundles on all levels, some of them deleted.
fn histories() -> impl Strategy<Value = (Vec<u64>, Vec<Bundle>)> {
    let bundle = prop::collection::vec(1u64..4, 1..4);
    let spec = (
        1u64..6,
        prop::collection::vec((bundle, 0u32..12), 1..24),
        2usize..4,
        prop::collection::vec(any::<bool>(), 24),
        prop::collection::vec(0u32..8, 96),
    );
    spec.prop_map(|(base, groups, fan, snapshots, fates)| {
        let mut commits = vec![base];
        let mut bundles = vec![(level(0), known(Content::FullImage, 0, base))];
        let mut runs: Vec<Vec<Known>> = vec![Vec::new()];
        let mut end = base;
        for (at, (lengths, kind)) in groups.iter().enumerate() {
            let start = end + 1;
            for length in lengths {
                end += length;
                commits.push(end);
            }
            // One in twelve bridges a time in which nothing was shipped.
            let content = if *kind == 0 { Content::FullImage } else { Content::EveryFrame };
            let made = known(content, start, end);
            bundles.push((level(0), made));
            match content {
                Content::FullImage => runs.push(Vec::new()),
                _ => runs.last_mut().unwrap().push(made),
            }
            if snapshots[at] && at % 3 == 0 {
                bundles.push((Level::SNAPSHOT, known(Content::FullImage, 0, end)));
            }
        }
        for run in runs {
            let mut below = run;
            for above in 1..=3u8 {
                let merge = |group: &[Known]| {
                    known(Content::LastImages, group[0].start_frame_no, group[group.len() - 1].end_frame_no)
                };
                below = below.chunks_exact(fan).map(merge).collect();
                bundles.extend(below.iter().map(|made| (level(above), *made)));
            }
        }
        let mut fates = fates.into_iter().cycle();
        // Some histories lose nothing.
        let spare_all = base == 1;
        bundles.retain(|_| spare_all || fates.next() != Some(0));
        (commits, bundles)
    })
}

/// Whether frame `wanted` can be restored, by trying every way.
fn possible(bundles: &[Bundle], wanted: u64) -> bool {
    let mut reached: std::collections::BTreeSet<u64> = bundles
        .iter()
        .filter(|(_, known)| known.content == Content::FullImage && known.end_frame_no <= wanted)
        .map(|(_, known)| known.end_frame_no)
        .collect();
    loop {
        let more: Vec<u64> = bundles
            .iter()
            .filter(|(level, known)| *level != Level::SNAPSHOT && known.end_frame_no <= wanted)
            .filter(|(_, known)| reached.iter().any(|&end| known.covers(end + 1)))
            .map(|(_, known)| known.end_frame_no)
            .filter(|end| !reached.contains(end))
            .collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more);
    }
    let cut = |(_, known): &Bundle| {
        known.content == Content::EveryFrame
            && known.covers(wanted)
            && reached.iter().any(|&end| known.covers(end + 1) && end < wanted)
    };
    reached.contains(&wanted) || bundles.iter().any(cut)
}

/// That a plan does what it says.
fn check(bundles: &[Bundle], plan: &Plan) {
    let first = plan.pieces[0];
    assert_eq!(first.known.content, Content::FullImage);
    let mut end = first.known.end_frame_no;
    for (at, piece) in plan.pieces.iter().enumerate() {
        assert!(bundles.contains(&(piece.level, piece.known)), "a plan of bundles that are there");
        if at > 0 {
            assert!(piece.known.covers(end + 1), "no gap in {:?}", shape(plan));
            assert!(piece.known.content != Content::FullImage);
            end = piece.known.end_frame_no;
        }
    }
    if plan.is_cut() {
        let last = plan.pieces.last().unwrap();
        assert_eq!(last.known.content, Content::EveryFrame);
        assert!(last.known.covers(plan.end_frame_no));
    } else {
        assert_eq!(end, plan.end_frame_no);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_restore_is_planned_when_there_is_a_way((commits, bundles) in histories()) {
        let restorable: Vec<u64> =
            commits.iter().copied().filter(|&frame_no| possible(&bundles, frame_no)).collect();
        for &frame_no in &commits {
            match steps(&bundles, Goal::Frame(frame_no)) {
                Ok(plan) => {
                    prop_assert!(restorable.contains(&frame_no), "frame {frame_no} by {:?}", shape(&plan));
                    prop_assert_eq!(plan.end_frame_no, frame_no);
                    check(&bundles, &plan);
                }
                Err(problem) => {
                    prop_assert!(!restorable.contains(&frame_no), "frame {frame_no}: {problem}");
                    if let NoPlan::Merged { before, after, .. } = problem {
                        prop_assert!(before < frame_no && frame_no < after);
                        prop_assert!(restorable.contains(&before) && restorable.contains(&after));
                        let between = restorable.iter().any(|end| (before + 1..after).contains(end));
                        prop_assert!(!between, "{before} and {after} are the nearest in {restorable:?}");
                    }
                    if let NoPlan::Gap { first, last } = problem {
                        let held = |(level, known): &Bundle| *level != Level::SNAPSHOT
                            && known.start_frame_no <= last && known.end_frame_no >= first;
                        prop_assert!(!bundles.iter().any(held), "{first} to {last} are missing");
                    }
                }
            }
            match steps(&bundles, Goal::AtOrBefore(frame_no)) {
                Ok(plan) => {
                    check(&bundles, &plan);
                    let newest = restorable.iter().copied().filter(|&end| end <= frame_no).max();
                    prop_assert_eq!(Some(plan.end_frame_no), newest);
                }
                Err(problem) => prop_assert!(!restorable.contains(&frame_no), "{problem}"),
            }
        }
        match steps(&bundles, Goal::Latest) {
            Ok(plan) => check(&bundles, &plan),
            Err(problem) => prop_assert!(bundles.is_empty() || !matches!(problem, NoPlan::Empty)),
        }
    }
}
