//! Figures of several rounds: smallest, median, largest, and what the target says to them.

/// Figures of one kind.
#[derive(Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Adds the figure of one round.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one; between two, their mean.
    pub fn median(&self) -> f64 {
        let (low, high) = (self.at((self.0.len().max(1) - 1) / 2), self.at(self.0.len() / 2));
        f64::midpoint(low, high)
    }

    /// The largest one.
    pub fn largest(&self) -> f64 {
        self.at(self.0.len().max(1) - 1)
    }

    fn at(&self, index: usize) -> f64 {
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    /// One line of a table.
    pub fn print(&self, name: &str, digits: usize) {
        let (least, median, most) = (self.at(0), self.median(), self.largest());
        println!("  {name:<32}{least:>10.digits$}{median:>10.digits$}{most:>10.digits$}");
    }
}

/// The head of a table.
pub fn print_head(title: &str) {
    println!("  {title:<32}{:>10}{:>10}{:>10}", "min", "median", "max");
}

/// Whether a figure is as good as it has to be.
pub fn print_target(what: &str, figure: f64, limit: f64, digits: usize) {
    let verdict = if figure <= limit { "met" } else { "missed" };
    println!("  target {what} <= {limit:.digits$}: {verdict} ({figure:.digits$})\n");
}
