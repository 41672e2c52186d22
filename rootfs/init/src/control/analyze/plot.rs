//! `plot`: a chart of the boot as SVG: a bar for each stage before units, and one for each unit from the
//! moment it began to start to the moment it was up.

use super::super::UnitStatus;
use super::super::usage::span;
use std::fmt::Write as _;

const ROW: u64 = 20;
const LEFT: u64 = 20;
const TOP: u64 = 60;
/// Width of a second, pixels, unless the boot is so long that [`MAX_WIDTH`] is less.
const PER_SECOND: u64 = 200;
const MAX_WIDTH: u64 = 6000;

/// A bar: name, start, end, colour.
type Bar<'a> = (&'a str, u64, u64, &'static str);

/// The chart. Units that never began to start are left out.
pub(super) fn render(stages: &[(String, u64)], units: &[UnitStatus]) -> String {
    let mut bars: Vec<Bar<'_>> = Vec::new();
    let mut before = 0;
    for (name, end) in stages {
        bars.push((name, before, *end, "#8da0cb"));
        before = *end;
    }
    let mut began: Vec<&UnitStatus> = units
        .iter()
        .filter(|unit| unit.times.inactive_exit_us > 0 || unit.times.active_enter_us > 0)
        .collect();
    began.sort_by(|a, b| start_us(a).cmp(&start_us(b)).then(a.id.cmp(&b.id)));
    for unit in began {
        let start = start_us(unit);
        let up = unit.times.active_enter_us;
        let (end, colour) = match unit.active_state.as_str() {
            "failed" => (unit.times.inactive_enter_us.max(start), "#e34a33"),
            _ if up >= start => (up, if unit.id.ends_with(".target") { "#999999" } else { "#66c2a5" }),
            _ => (start, "#fc8d62"),
        };
        bars.push((&unit.id, start, end, colour));
    }
    draw(&bars)
}

fn start_us(unit: &UnitStatus) -> u64 {
    let times = unit.times;
    // A target goes from down to up at once.
    if times.inactive_exit_us > 0 { times.inactive_exit_us } else { times.active_enter_us }
}

fn draw(bars: &[Bar<'_>]) -> String {
    let last = bars.iter().map(|(_, _, end, _)| *end).max().unwrap_or(0).max(1);
    let per_second = PER_SECOND.min((MAX_WIDTH * 1_000_000 / last).max(1));
    let x = |us: u64| LEFT + us * per_second / 1_000_000;
    let (width, height) = (x(last) + 360, TOP + ROW * bars.len() as u64 + 20);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">Boot: {}</text>\n",
        span(last)
    );
    // Writing into a string does not fail.
    let seconds = last / 1_000_000 + 1;
    let step = seconds.div_ceil(100).max(1);
    for second in (0..=seconds).step_by(step as usize) {
        let at = x(second * 1_000_000);
        let _ = writeln!(
            out,
            "<line x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{height}\" stroke=\"#dddddd\"/>\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{second}s</text>",
            TOP - 10,
            TOP - 15
        );
    }
    for (index, (name, start, end, colour)) in bars.iter().enumerate() {
        let y = TOP + ROW * index as u64;
        let wide = (x(*end).saturating_sub(x(*start))).max(1);
        let took = if end > start { format!(" ({})", span(end - start)) } else { String::new() };
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{y}\" width=\"{wide}\" height=\"{}\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\">{}{took}</text>",
            x(*start),
            ROW - 4,
            x(*start) + wide + 5,
            y + ROW - 8,
            escaped(name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn each_stage_and_unit_is_a_bar_from_its_start_to_its_end() {
        let stages = [("kernel".to_owned(), 1_000_000)];
        let mut failed = unit("bad<&>.service", 1100, 0, &[]);
        failed.active_state = "failed".into();
        failed.times.inactive_enter_us = 1_600_000;
        let svg =
            render(&stages, &[unit("a.service", 1000, 1500, &[]), failed, unit("never.service", 0, 0, &[])]);
        assert!(
            svg.contains("<rect x=\"20\" y=\"60\" width=\"200\" height=\"16\" fill=\"#8da0cb\"/>"),
            "{svg}"
        );
        assert!(
            svg.contains("<rect x=\"220\" y=\"80\" width=\"100\" height=\"16\" fill=\"#66c2a5\"/>"),
            "{svg}"
        );
        assert!(svg.contains(">a.service (500ms)</text>"), "{svg}");
        assert!(
            svg.contains("fill=\"#e34a33\"") && svg.contains("bad&lt;&amp;&gt;.service (500ms)"),
            "{svg}"
        );
        assert!(!svg.contains("never"), "{svg}");
        assert_eq!((svg.matches("<rect").count(), svg.matches("</svg>").count()), (4, 1));
    }
}
