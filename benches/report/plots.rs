//! The plots, as SVG.

use crate::Done;
use crate::results::Results;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Bars, with their colours.
const RUNTIMES: [(&str, RGBColor); 6] = [
    ("floor", RGBColor(187, 187, 187)),
    ("onggi", RGBColor(0, 119, 187)),
    ("crun", RGBColor(238, 119, 51)),
    ("runc", RGBColor(204, 51, 17)),
    ("current_runc", RGBColor(238, 51, 119)),
    ("current_youki", RGBColor(0, 153, 136)),
];

/// A group of bars: its title and the measure.
type Group = (&'static str, (&'static str, &'static str, &'static str));

const TIMES: &[Group] = &[
    ("run", ("run", "spec", "wall_ms")),
    ("run, Docker-like", ("run", "docker", "wall_ms")),
    ("create + start + delete", ("lifecycle", "spec", "wall_ms")),
    ("exec", ("exec", "spec", "wall_ms")),
    ("exec, Docker-like", ("exec", "docker", "wall_ms")),
];

const THROUGHPUT: &[Group] = &[
    ("1 at a time", ("throughput-1", "spec", "per_second")),
    ("2", ("throughput-2", "spec", "per_second")),
    ("8", ("throughput-8", "spec", "per_second")),
    ("1, Docker-like", ("throughput-1", "docker", "per_second")),
    ("2", ("throughput-2", "docker", "per_second")),
    ("8", ("throughput-8", "docker", "per_second")),
];

const COUNTS: &[Group] = &[
    ("system calls of run", ("run", "spec", "system_calls")),
    ("run, Docker-like", ("run", "docker", "system_calls")),
    ("exec", ("exec", "spec", "system_calls")),
    ("page faults of run", ("run", "spec", "least_page_faults")),
    ("run, Docker-like", ("run", "docker", "least_page_faults")),
];

/// Draws all plots into `directory`.
pub fn draw(results: &Results, directory: &Path) -> Done<()> {
    bars(
        results,
        &directory.join("times.svg"),
        "wall time, milliseconds: less is better (bars at the top are cut off)",
        TIMES,
    )?;
    bars(results, &directory.join("throughput.svg"), "containers a second: more is better", THROUGHPUT)?;
    bars(results, &directory.join("counts.svg"), "counts: less is better (bars at the top are cut off)", COUNTS)
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 370;
/// Where the names of the runtimes stand, from the top.
const LEGEND: i32 = 348;
/// Between the groups, in bars.
const GAP: f64 = 1.0;

/// One group of bars for each measure. The bars of runc and youki, many times as long, are cut off at the top and tell their
/// numbers.
fn bars(results: &Results, path: &Path, title: &str, groups: &[Group]) -> Done<()> {
    let value = |group: &Group, runtime: &str| results.find(group.1.0, group.1.1, group.1.2, runtime);
    let shown: Vec<_> = RUNTIMES.iter().filter(|(name, _)| groups.iter().any(|it| value(it, name).is_some())).collect();
    let small = shown.iter().filter(|(name, _)| !name.contains("runc") && !name.contains("youki"));
    let top = small.flat_map(|(name, _)| groups.iter().filter_map(|it| value(it, name))).fold(0.0, f64::max) * 1.35;
    let (group_width, group_count) =
        (f64::from(u32::try_from(shown.len())?) + GAP, f64::from(u32::try_from(groups.len())?));

    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(50)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..group_width * group_count, 0.0..top)?;
    chart.configure_mesh().disable_x_mesh().x_labels(0).light_line_style(WHITE).draw()?;
    let label = ("sans-serif", 11).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Bottom));
    let below = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
    let mut left = GAP / 2.0;
    for group in groups {
        for (name, color) in &shown {
            if let Some(value) = value(group, name) {
                let height = value.min(top * 0.93);
                chart.draw_series([Rectangle::new([(left + 0.06, 0.0), (left + 0.94, height)], color.filled())])?;
                let text = if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") };
                chart.draw_series([Text::new(text, (left + 0.5, height), label.clone())])?;
            }
            left += 1.0;
        }
        let middle = left - (group_width - GAP) / 2.0;
        let place = chart.backend_coord(&(middle, 0.0));
        area.draw(&Text::new(group.0, (place.0, place.1 + 6), below.clone()))?;
        left += GAP;
    }
    let mut across = 60;
    for (name, color) in &shown {
        let across_end = across + 12;
        area.draw(&Rectangle::new([(across, LEGEND), (across_end, LEGEND + 12)], color.filled()))?;
        area.draw(&Text::new(name.replace('_', " "), (across_end + 5, LEGEND), ("sans-serif", 13).into_font()))?;
        across = across_end + 25 + 8 * i32::try_from(name.len())?;
    }
    area.present()?;
    Ok(())
}
