//! Growth curves as SVG, both axes logarithmic, readable on a light and on a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 270.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Of equal brightness, and distinguishable by the colour-blind.
const COLOURS: [&str; 6] = ["#4477aa", "#ee6677", "#228833", "#b8960c", "#aa3377", "#2f9fb8"];
/// The labels take the page's colour for text.
const STYLE: &str = "text { font: 13px sans-serif; fill: #333 } .grid { stroke: #8884 } \
    .axis { stroke: #888 } @media (prefers-color-scheme: dark) { text { fill: #ddd } }";

type Curve<'a> = (&'a str, &'a [(u32, f64)]);

/// A logarithmic axis of whole powers of ten.
struct Axis {
    from: i32,
    to: i32,
    /// Where they are on the page.
    begin: f64,
    end: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64> + Clone, begin: f64, end: f64) -> Self {
        let least = values.clone().fold(f64::MAX, f64::min).log10().floor();
        let most = values.fold(f64::MIN_POSITIVE, f64::max).log10().ceil();
        #[expect(clippy::cast_possible_truncation, reason = "powers of ten of what was measured")]
        let (from, to) = (least as i32, most as i32);
        Self { from, to: to.max(from + 1), begin, end }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        self.begin + part * (self.end - self.begin)
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}

/// Milliseconds over `sizes`, which says what the sizes are.
pub(crate) fn growth(title: &str, sizes: &str, curves: &[Curve<'_>]) -> String {
    let points = curves.iter().flat_map(|(_, points)| points.iter());
    let x = Axis::around(points.clone().map(|it| f64::from(it.0)), LEFT, WIDTH - RIGHT);
    let y = Axis::around(points.map(|it| it.1), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
            .unwrap();
    };
    text(LEFT, TOP - 25.0, "start", &format!("{title}: milliseconds, median"));
    text(f64::midpoint(x.begin, x.end), HEIGHT - 15.0, "middle", sizes);
    x.marks().for_each(|mark| text(x.place(mark), y.begin + 22.0, "middle", &mark.to_string()));
    y.marks().for_each(|mark| text(LEFT - 10.0, y.place(mark) + 4.0, "end", &mark.to_string()));
    let line = |svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)| {
        let ((x1, y1), (x2, y2)) = (from, to);
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        writeln!(svg, "<line class=\"{class}\" {ends}/>").unwrap();
    };
    for mark in x.marks() {
        line(&mut svg, "grid", (x.place(mark), y.begin), (x.place(mark), y.end));
    }
    for mark in y.marks() {
        line(&mut svg, "grid", (x.begin, y.place(mark)), (x.end, y.place(mark)));
    }
    line(&mut svg, "axis", (x.begin, y.begin), (x.end, y.begin));
    line(&mut svg, "axis", (x.begin, y.begin), (x.begin, y.end));
    draw(&mut svg, (&x, &y), curves);
    svg.push_str("</svg>\n");
    svg
}

/// The curves, and what they are beside them, the highest first.
fn draw(svg: &mut String, (x, y): (&Axis, &Axis), curves: &[Curve<'_>]) {
    let last = |curve: &Curve<'_>| curve.1.last().map_or(0.0, |it| it.1);
    let mut curves = curves.to_vec();
    curves.sort_by(|one, other| last(other).total_cmp(&last(one)));
    let mut lowest = f64::MIN;
    for (curve, colour) in curves.iter().zip(COLOURS.into_iter().cycle()) {
        let (name, points) = curve;
        let places: Vec<(f64, f64)> =
            points.iter().map(|it| (x.place(f64::from(it.0)), y.place(it.1))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )
        .unwrap();
        for (x, y) in &places {
            writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")
                .unwrap();
        }
        // Labels do not cover each other.
        let at = y.place(last(curve)).max(lowest + 18.0);
        lowest = at;
        let from = x.end + 12.0;
        writeln!(
            svg,
            "<text x=\"{from:.1}\" y=\"{:.1}\" style=\"fill: {colour}\">{name}</text>",
            at + 4.0
        )
        .unwrap();
    }
}
