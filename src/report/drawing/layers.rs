//! A layered drawing of an acyclic graph (Sugiyama, Tagawa and Toda 1981): layers by longest path, few crossings by
//! barycentres, long edges around the boxes between them.

/// Between layers, where the arrows run.
const GAP_ACROSS: f64 = 56.0;
/// Between the boxes of a layer.
const GAP_WITHIN: f64 = 18.0;
/// Passes over the layers, forwards and backwards.
const SWEEPS: usize = 12;

#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub width: f64,
    pub height: f64,
}

/// The upper left corner of a box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub x: f64,
    pub y: f64,
}

/// Where everything goes, from left to right.
#[derive(Debug)]
pub(super) struct Layout {
    /// One a node.
    pub boxes: Vec<Place>,
    /// One an edge: the points it goes through.
    pub edges: Vec<Vec<(f64, f64)>>,
    pub width: f64,
    pub height: f64,
}

/// The graph with its long edges cut into steps from layer to layer.
struct Layered {
    /// By node, then by bend.
    layer: Vec<usize>,
    sizes: Vec<Size>,
    /// By node: those before and those after it that a step joins it to.
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// By edge: the nodes and bends it goes through.
    ways: Vec<Vec<usize>>,
    /// By layer: its nodes and bends from top to bottom.
    order: Vec<Vec<usize>>,
}

impl Layout {
    /// `edges` are pairs of indices into `sizes` without a cycle.
    pub fn new(sizes: &[Size], edges: &[(usize, usize)]) -> Self {
        let mut graph = Layered::new(sizes, edges);
        graph.uncross();
        let y = graph.heights();
        let mut x = vec![0.0; graph.order.len()];
        let (mut left, mut widths) = (0.0, vec![0.0; graph.order.len()]);
        for (layer, nodes) in graph.order.iter().enumerate() {
            x[layer] = left;
            widths[layer] = nodes.iter().map(|node| graph.sizes[*node].width).fold(0.0, f64::max);
            left += widths[layer] + GAP_ACROSS;
        }
        let width = if graph.order.is_empty() { 0.0 } else { left - GAP_ACROSS };
        let boxes: Vec<Place> = (0..sizes.len())
            .map(|node| {
                let layer = graph.layer[node];
                Place { x: x[layer] + (widths[layer] - sizes[node].width) / 2.0, y: y[node] }
            })
            .collect();
        let edges = graph.ways.iter().map(|way| {
            let mut points = vec![];
            for (at, node) in way.iter().enumerate() {
                let (layer, middle) = (graph.layer[*node], y[*node] + graph.sizes[*node].height / 2.0);
                if *node >= sizes.len() {
                    // Straight through the layer of a bend.
                    points.extend([(x[layer], middle), (x[layer] + widths[layer], middle)]);
                } else if at == 0 {
                    points.push((boxes[*node].x + sizes[*node].width, middle));
                } else {
                    points.push((boxes[*node].x, middle));
                }
            }
            points
        });
        let edges = edges.collect();
        let height = boxes.iter().zip(sizes).map(|(place, size)| place.y + size.height);
        let bends = (sizes.len()..y.len()).map(|bend| y[bend]);
        Self { width, height: height.chain(bends).fold(0.0, f64::max), boxes, edges }
    }
}

impl Layered {
    fn new(sizes: &[Size], edges: &[(usize, usize)]) -> Self {
        let mut layer = longest_paths(sizes.len(), edges);
        // What nothing leads to stands next to what it leads to first.
        for node in 0..sizes.len() {
            if edges.iter().all(|(_, to)| *to != node)
                && let Some(first) = edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| layer[*to]).min()
            {
                layer[node] = first - 1;
            }
        }
        let mut sizes = sizes.to_vec();
        let mut ways = vec![];
        for (from, to) in edges {
            let mut way = vec![*from];
            for between in layer[*from] + 1..layer[*to] {
                way.push(sizes.len());
                sizes.push(Size { width: 0.0, height: 0.0 });
                layer.push(between);
            }
            way.push(*to);
            ways.push(way);
        }
        let mut order = vec![vec![]; layer.iter().max().map_or(0, |most| most + 1)];
        layer.iter().enumerate().for_each(|(node, layer)| order[*layer].push(node));
        let (mut before, mut after) = (vec![vec![]; layer.len()], vec![vec![]; layer.len()]);
        for step in ways.iter().flat_map(|way| way.windows(2)) {
            after[step[0]].push(step[1]);
            before[step[1]].push(step[0]);
        }
        Self { layer, sizes, before, after, ways, order }
    }

    /// Orders each layer by the mean place of its neighbours, and keeps the order with the fewest crossings.
    fn uncross(&mut self) {
        let (mut best, mut fewest) = (self.order.clone(), self.crossings());
        for sweep in 0..SWEEPS {
            let forwards = sweep % 2 == 0;
            let layers: Vec<usize> = if forwards {
                (1..self.order.len()).collect()
            } else {
                (0..self.order.len().max(1) - 1).rev().collect()
            };
            for layer in layers {
                let place = self.places();
                let neighbours = if forwards { &self.before } else { &self.after };
                let mean = |node: &usize| match neighbours[*node].len() {
                    0 => place[*node] as f64,
                    n => neighbours[*node].iter().map(|other| place[*other] as f64).sum::<f64>() / n as f64,
                };
                self.order[layer].sort_by(|a, b| mean(a).total_cmp(&mean(b)));
            }
            let crossings = self.crossings();
            if crossings < fewest {
                (best, fewest) = (self.order.clone(), crossings);
            }
        }
        self.order = best;
    }

    /// Each node's place in its layer.
    fn places(&self) -> Vec<usize> {
        let mut place = vec![0; self.layer.len()];
        for nodes in &self.order {
            nodes.iter().enumerate().for_each(|(at, node)| place[*node] = at);
        }
        place
    }

    fn crossings(&self) -> usize {
        let place = self.places();
        let mut count = 0;
        for nodes in &self.order {
            let steps: Vec<(usize, usize)> = nodes
                .iter()
                .flat_map(|node| self.after[*node].iter().map(|other| (place[*node], place[*other])))
                .collect();
            for (at, one) in steps.iter().enumerate() {
                count += steps[at + 1..]
                    .iter()
                    .filter(|two| (one.0 < two.0 && one.1 > two.1) || (one.0 > two.0 && one.1 < two.1))
                    .count();
            }
        }
        count
    }

    /// The upper edge of each node: near the middle of its neighbours, never over the one above it.
    fn heights(&self) -> Vec<f64> {
        let mut top = vec![0.0; self.layer.len()];
        for nodes in &self.order {
            let mut next = 0.0;
            for node in nodes {
                top[*node] = next;
                next += self.sizes[*node].height + GAP_WITHIN;
            }
        }
        for sweep in 0..SWEEPS {
            let layers: Vec<usize> = match sweep % 2 {
                0 => (0..self.order.len()).collect(),
                _ => (0..self.order.len()).rev().collect(),
            };
            for layer in layers {
                self.settle(&self.order[layer], &mut top);
            }
        }
        let least = top.iter().copied().fold(f64::INFINITY, f64::min);
        top.iter_mut().for_each(|top| *top -= least);
        top
    }

    /// Moves the nodes of a layer to the middle of their neighbours as far as their order allows.
    fn settle(&self, nodes: &[usize], top: &mut [f64]) {
        let middle = |node: usize, top: &[f64]| top[node] + self.sizes[node].height / 2.0;
        let wanted: Vec<f64> = nodes
            .iter()
            .map(|node| {
                let neighbours = self.before[*node].iter().chain(&self.after[*node]);
                let (sum, count) =
                    neighbours.fold((0.0, 0), |(sum, count), other| (sum + middle(*other, top), count + 1));
                if count == 0 { top[*node] } else { sum / f64::from(count) - self.sizes[*node].height / 2.0 }
            })
            .collect();
        // Half of what pushing down gives and half of what pushing up gives keeps groups around their middle.
        let room = |node: usize| self.sizes[node].height + GAP_WITHIN;
        let mut down = wanted.clone();
        for at in 1..nodes.len() {
            down[at] = down[at].max(down[at - 1] + room(nodes[at - 1]));
        }
        let mut up = wanted;
        for at in (0..nodes.len().saturating_sub(1)).rev() {
            up[at] = up[at].min(up[at + 1] - room(nodes[at]));
        }
        for (at, node) in nodes.iter().enumerate() {
            top[*node] = (down[at] + up[at]) / 2.0;
        }
    }
}

/// Each node's distance from the furthest node that leads to it.
fn longest_paths(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0; nodes];
    // At most as many rounds as a path is long; a graph without cycles is settled then.
    for _ in 0..nodes {
        let mut settled = true;
        for (from, to) in edges {
            if layer[*to] <= layer[*from] {
                layer[*to] = layer[*from] + 1;
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn boxes_never_overlap_and_arrows_point_to_the_right(
            widths in prop::collection::vec(20.0..300.0f64, 1..14),
            pairs in prop::collection::vec((0..14usize, 0..14usize), 0..24),
        ) {
            let sizes: Vec<Size> = widths.iter().map(|width| Size { width: *width, height: 30.0 }).collect();
            let edges: Vec<(usize, usize)> =
                pairs.into_iter().filter(|(from, to)| from < to && *to < sizes.len()).collect();
            let layout = Layout::new(&sizes, &edges);
            for (a, (one, size)) in layout.boxes.iter().zip(&sizes).enumerate() {
                prop_assert!(one.x >= 0.0 && one.y >= -1e-6, "{one:?}");
                prop_assert!(one.x + size.width <= layout.width + 1e-6 && one.y + size.height <= layout.height + 1e-6);
                for (other, other_size) in layout.boxes.iter().zip(&sizes).skip(a + 1) {
                    let apart = one.x + size.width <= other.x + 1e-6
                        || other.x + other_size.width <= one.x + 1e-6
                        || one.y + size.height <= other.y + 1e-6
                        || other.y + other_size.height <= one.y + 1e-6;
                    prop_assert!(apart, "{one:?} and {other:?}");
                }
            }
            for points in &layout.edges {
                prop_assert!(points.windows(2).all(|step| step[0].0 <= step[1].0), "{points:?}");
            }
        }
    }

    #[test]
    fn a_graph_that_can_be_drawn_without_crossings_is() {
        // Two chains side by side, given in an order that crosses them.
        let sizes = vec![Size { width: 50.0, height: 30.0 }; 6];
        let mut graph = Layered::new(&sizes, &[(0, 3), (1, 2), (2, 5), (3, 4)]);
        assert!(graph.crossings() > 0);
        graph.uncross();
        assert_eq!(graph.crossings(), 0);
    }
}
