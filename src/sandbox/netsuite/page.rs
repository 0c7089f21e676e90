//! Cuts collections into pages with `limit` and `offset`.

use serde_json::{Value, json};

use super::problem::Problem;
use crate::sandbox::target::Target;

/// NetSuite's largest page, and its default.
const LIMIT_MAX: usize = 1000;

/// Which part of a collection is asked for.
///
/// Public guides say that NetSuite wants the offset to be a multiple of the limit; our facts don't,
/// so any offset is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Items at most.
    pub limit: usize,
    /// Items before the first.
    pub offset: usize,
}

impl Page {
    /// Reads `limit` and `offset` from a query.
    ///
    /// # Errors
    /// When one of them is no number, or the limit not within 1 and 1000.
    pub fn parse(target: &Target) -> Result<Page, Problem> {
        let number = |name: &str, default: usize| match target.parameter(name) {
            None => Ok(default),
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| bad(name))
            }
            Some(_) => Err(bad(name)),
        };
        let page = Page { limit: number("limit", LIMIT_MAX)?, offset: number("offset", 0)? };
        if !(1..=LIMIT_MAX).contains(&page.limit) {
            return Err(bad("limit"));
        }
        Ok(page)
    }

    /// The collection document around one page of items; `url` is that of the collection.
    pub fn document(&self, url: &str, items: Vec<Value>, total: usize) -> Value {
        let end = self.offset.saturating_add(items.len());
        let more = end < total;
        let link = |rel: &str, offset: usize| json!({"rel": rel, "href": self.href(url, offset)});
        let mut links = Vec::new();
        if self.offset > 0 {
            links.push(link("first", 0));
            links.push(link("previous", self.offset.saturating_sub(self.limit)));
        }
        if more {
            let pages_left = (total - end).div_ceil(self.limit);
            links.push(link("next", end));
            links.push(link("last", end + (pages_left - 1) * self.limit));
        }
        links.push(link("self", self.offset));
        json!({
            "links": links,
            "count": items.len(),
            "hasMore": more,
            "items": items,
            "offset": self.offset,
            "totalResults": total,
        })
    }

    fn href(&self, url: &str, offset: usize) -> String {
        format!("{url}?limit={}&offset={offset}", self.limit)
    }
}

fn bad(name: &str) -> Problem {
    let range = if name == "limit" { "between 1 and 1000" } else { "of 0 or more" };
    Problem::parameter(name, format!("Provide a whole number {range} for {name}."))
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::sandbox::target::Target;
    use serde_json::{Value, json};

    fn page(query: &str) -> Option<Page> {
        let uri = format!("/x?{query}").parse().unwrap();
        Page::parse(&Target::parse(&uri).unwrap()).ok()
    }

    #[test]
    fn limit_and_offset_are_numbers_in_range() {
        assert_eq!(page(""), Some(Page { limit: 1000, offset: 0 }));
        assert_eq!(page("limit=2&offset=3"), Some(Page { limit: 2, offset: 3 }));
        for bad in ["limit=0", "limit=1001", "limit=", "limit=-1", "limit=+1", "offset=x"] {
            assert_eq!(page(bad), None, "{bad}");
        }
        assert_eq!(page("offset=99999999999999999999"), None);
    }

    fn offsets(page: Page, items: usize, total: usize) -> Vec<(String, String)> {
        let document = page.document("u", vec![Value::Null; items], total);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let links = document["links"].as_array().unwrap().iter();
        links.map(|link| (text(&link["rel"]), text(&link["href"]))).collect()
    }

    fn links(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(rel, href)| ((*rel).to_owned(), (*href).to_owned())).collect()
    }

    #[test]
    fn links_lead_through_the_pages() {
        assert_eq!(
            offsets(Page { limit: 2, offset: 0 }, 2, 5),
            links(&[
                ("next", "u?limit=2&offset=2"),
                ("last", "u?limit=2&offset=4"),
                ("self", "u?limit=2&offset=0"),
            ])
        );
        assert_eq!(
            offsets(Page { limit: 2, offset: 4 }, 1, 5),
            links(&[
                ("first", "u?limit=2&offset=0"),
                ("previous", "u?limit=2&offset=2"),
                ("self", "u?limit=2&offset=4"),
            ])
        );
        assert_eq!(
            offsets(Page { limit: 2, offset: 2 }, 2, 4),
            links(&[
                ("first", "u?limit=2&offset=0"),
                ("previous", "u?limit=2&offset=0"),
                ("self", "u?limit=2&offset=2"),
            ])
        );
    }

    #[test]
    fn a_page_beyond_the_end_is_empty() {
        let document = Page { limit: 2, offset: 9 }.document("u", Vec::new(), 5);
        assert_eq!(document["hasMore"], json!(false));
        assert_eq!(document["count"], json!(0));
        assert_eq!(document["totalResults"], json!(5));
    }
}
