//! Where everything is in the picture of a cluster: the endpoint above the control planes with etcd's members, and these
//! above the hosts of etcd alone and the workers by pool. In units of the picture's own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::hosts::{Health, HostRow};
use super::model::Status;

const WIDTH: usize = 960;
const MARGIN: usize = 12;
const GAP: usize = 12;
/// The height of a frame's title.
const TITLE: usize = 30;
/// Between two layers, where the lines run.
const BETWEEN: usize = 36;
/// A pool of more workers than this gets small boxes.
const LARGE_BOXES: usize = 12;

#[derive(Debug, Serialize)]
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub endpoint: Shape,
    pub lines: Vec<Line>,
    pub frames: Vec<Frame>,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub x1: usize,
    pub y1: usize,
    pub x2: usize,
    pub y2: usize,
}

/// A group of hosts.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    pub y: usize,
    pub height: usize,
    pub width: usize,
    pub x: usize,
    pub title: String,
    pub words: String,
    pub shapes: Vec<Shape>,
}

/// A host, or the endpoint.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    pub health: &'static str,
    pub name: String,
    pub words: String,
    /// etcd's member on it.
    pub etcd: Option<String>,
    /// The whole of what is known, shown where the pointer rests.
    pub full: String,
}

/// The size of boxes of a kind.
struct Boxes {
    width: usize,
    height: usize,
    letters: usize,
    words: bool,
}

const PLANES: Boxes = Boxes { width: 174, height: 92, letters: 17, words: true };
const LARGE: Boxes = Boxes { width: 174, height: 52, letters: 17, words: true };
const SMALL: Boxes = Boxes { width: 106, height: 30, letters: 10, words: false };

pub(super) fn picture(status: &Status) -> Picture {
    let answers = status.endpoint_health.as_deref() == Some("ok");
    let endpoint = Shape {
        x: WIDTH / 2 - 170,
        y: MARGIN,
        width: 340,
        height: 52,
        health: if answers { Health::Well } else { Health::Bad }.word(),
        name: cut(&status.endpoint, 34),
        words: if answers { "API endpoint, answers" } else { "API endpoint, does not answer" }.to_owned(),
        etcd: None,
        full: status.api_words(),
    };
    let (planes, others): (Vec<&HostRow>, Vec<&HostRow>) = status.hosts.iter().partition(|h| h.role.is_control_plane());
    let (workers, apart): (Vec<&HostRow>, Vec<&HostRow>) = others.into_iter().partition(|h| h.role.is_worker());
    let mut y = MARGIN + endpoint.height + BETWEEN;
    let below = MARGIN + endpoint.height;
    let mut frames = Vec::new();
    let shapes = planes.iter().map(|h| shape(h, &PLANES)).collect();
    let frame = framed(y, "Control planes".into(), status.etcd_words(), &PLANES, shapes);
    let centre = WIDTH / 2;
    let heads = frame.shapes.iter().filter(|s| s.y == frame.y + TITLE);
    let mut lines: Vec<Line> =
        heads.map(|s| Line { x1: centre, y1: below, x2: s.x + s.width / 2, y2: frame.y }).collect();
    y = frame.y + frame.height + BETWEEN;
    frames.push(frame);
    if !apart.is_empty() {
        let well = apart.iter().filter(|h| h.health == Health::Well).count();
        let shapes = apart.iter().map(|h| shape(h, &PLANES)).collect();
        let frame = framed(y, "etcd".into(), format!("{well} of {} well", apart.len()), &PLANES, shapes);
        lines.push(Line { x1: centre, y1: y - BETWEEN, x2: centre, y2: frame.y });
        y = frame.y + frame.height + BETWEEN;
        frames.push(frame);
    }
    let mut pools: BTreeMap<Option<&str>, Vec<&HostRow>> = BTreeMap::new();
    for host in workers {
        pools.entry(host.pool.as_deref()).or_default().push(host);
    }
    for (pool, hosts) in pools {
        let well = hosts.iter().filter(|h| h.health == Health::Well).count();
        let boxes = if hosts.len() > LARGE_BOXES { &SMALL } else { &LARGE };
        let title = pool.map_or_else(|| "Workers".to_owned(), |p| format!("Workers: {}", cut(p, 40)));
        let shapes = hosts.iter().map(|h| shape(h, boxes)).collect();
        let frame = framed(y, title, format!("{well} of {} well", hosts.len()), boxes, shapes);
        let above = frames.last().map_or(below, |f: &Frame| f.y + f.height);
        lines.push(Line { x1: centre, y1: above, x2: centre, y2: frame.y });
        y = frame.y + frame.height + BETWEEN / 2;
        frames.push(frame);
    }
    if !status.not_in_inventory.is_empty() {
        let strange = |name: &String| Shape {
            width: LARGE.width,
            height: LARGE.height,
            x: 0,
            y: 0,
            health: "unknown",
            name: cut(name, LARGE.letters),
            words: "not in the inventory".into(),
            etcd: None,
            full: format!("{name}: in the cluster, not in the inventory"),
        };
        let shapes = status.not_in_inventory.iter().map(strange).collect();
        let frame = framed(y, "Nodes that the inventory does not know".into(), String::new(), &LARGE, shapes);
        y = frame.y + frame.height + BETWEEN / 2;
        frames.push(frame);
    }
    let height = y - BETWEEN / 2 + MARGIN;
    Picture { width: WIDTH, height, endpoint, lines, frames }
}

/// Sets the boxes in rows, each row in the middle.
fn framed(y: usize, title: String, words: String, boxes: &Boxes, mut shapes: Vec<Shape>) -> Frame {
    let inside = WIDTH - 2 * MARGIN - 2 * GAP;
    let most = ((inside + GAP) / (boxes.width + GAP)).max(1);
    let rows = shapes.len().div_ceil(most).max(1);
    for (row, all) in shapes.chunks_mut(most).enumerate() {
        // The last row begins under the first of the row above.
        let across = if row == 0 { all.len() } else { most };
        let left = (WIDTH + GAP - across * (boxes.width + GAP)) / 2;
        for (column, shape) in all.iter_mut().enumerate() {
            shape.x = left + column * (boxes.width + GAP);
            shape.y = y + TITLE + row * (boxes.height + GAP);
        }
    }
    let height = TITLE + rows * (boxes.height + GAP);
    Frame { x: MARGIN, y, width: WIDTH - 2 * MARGIN, height, title, words, shapes }
}

fn shape(host: &HostRow, boxes: &Boxes) -> Shape {
    let notes = host.notes();
    let mut full = format!("{} ({}, {}): {}", host.name, host.role_name(), host.address, host.state);
    for note in &notes {
        full += &format!(", {note}");
    }
    let state = if host.state == "member" && host.ready == Some(true) {
        host.kubelet.clone().unwrap_or_default()
    } else {
        host.state.split(':').next().unwrap_or_default().to_owned()
    };
    let words = notes.first().map_or_else(|| state.clone(), |note| format!("{state}, {note}"));
    let etcd = match (host.etcd_leader, host.etcd) {
        (true, _) => Some("etcd leader".to_owned()),
        (_, Some(role)) => Some(format!("etcd {role}")),
        _ => None,
    };
    Shape {
        x: 0,
        y: 0,
        width: boxes.width,
        height: boxes.height,
        health: host.health.word(),
        name: cut(&host.name, boxes.letters),
        words: if boxes.words { cut(&words, 23) } else { String::new() },
        etcd: etcd.filter(|_| boxes.height == PLANES.height),
        full,
    }
}

/// Not more than `most` letters; what is cut ends in an ellipsis.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['\u{2026}']).collect()
}
