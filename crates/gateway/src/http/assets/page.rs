//! The page of the app, made for the view that its address shows.
//!
//! It names all modules of that view ahead. Browsers fetch them at once then, instead of level by level as they find imports: this is
//! most of the time until something is to be seen.

use std::collections::HashSet;

use axum::http::{HeaderMap, header};

use super::file::{PREFIX, read};

/// What the page is made of.
pub(super) const APP: &str = "index.html";
/// Where its modules are named.
const MODULES: &str = "  <!-- modules -->\n";
/// What is around all views.
const APP_MODULE: &str = "assets/js/views/app.js";
/// Between these two is what stands in the app until it runs.
const OPENED: &str = "<apiary-app>";
const CLOSED: &str = "</apiary-app>";

/// A view of the app: what its modules are is all that the server has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum View {
    Wall,
    Camera,
    Events,
    Account,
    Admin,
    Welcome,
    /// For strangers: log in, set up, open a share link.
    Gate,
}

impl View {
    pub(super) const ALL: [Self; 7] = [
        Self::Wall,
        Self::Camera,
        Self::Events,
        Self::Account,
        Self::Admin,
        Self::Welcome,
        Self::Gate,
    ];

    /// Where its modules begin, what is needed first before the rest.
    fn entries(self) -> &'static [&'static str] {
        match self {
            Self::Wall => &["assets/js/views/wall.js"],
            Self::Camera => &["assets/js/media/ahead.js", "assets/js/views/camera.js"],
            Self::Events => &["assets/js/views/events.js"],
            Self::Account => &["assets/js/views/account.js"],
            Self::Admin => &["assets/js/views/admin.js"],
            Self::Welcome => &["assets/js/views/welcome.js"],
            Self::Gate => &["assets/js/views/gate.js"],
        }
    }
}

/// A language that there are texts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::English, Self::German];

    /// What the browser would like best (RFC 9110 §12.5.4; browsers name them in their order). A choice that was made in the pages
    /// stands in the browser alone: it costs a file more.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let named = headers.get_all(header::ACCEPT_LANGUAGE).iter();
        named
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(
                |tag| match tag.trim().get(..2)?.to_ascii_lowercase().as_str() {
                    "en" => Some(Self::English),
                    "de" => Some(Self::German),
                    _ => None,
                },
            )
            .unwrap_or(Self::English)
    }

    fn catalogue(self) -> &'static str {
        match self {
            Self::English => "assets/js/i18n/en.js",
            Self::German => "assets/js/i18n/de.js",
        }
    }
}

/// The page that shows a view; `None` without the file that it is made of.
pub(super) fn made(view: View, language: Language) -> Option<Vec<u8>> {
    let page = read(APP)?;
    let page = String::from_utf8_lossy(&page);
    let links: String = modules(view, language)
        .iter()
        .map(|path| format!("  <link rel=\"modulepreload\" href=\"/{path}\">\n"))
        .collect();
    let page = page.replace(MODULES, &links);
    // Strangers get no bar, not even for a moment.
    let page = match page.split_once(OPENED).zip(page.split_once(CLOSED)) {
        Some(((before, _), (_, after))) if view == View::Gate => {
            format!("{before}{OPENED}{CLOSED}{after}")
        }
        _ => page,
    };
    Some(page.into_bytes())
}

/// All modules of a view, each before those that need it, as paths below `web`.
fn modules(view: View, language: Language) -> Vec<String> {
    let mut modules = Modules::default();
    // Nothing is written without it, and it is imported in a way that cannot be followed.
    modules.follow(language.catalogue());
    for entry in [view.entries(), &[APP_MODULE]].concat() {
        modules.follow(entry);
    }
    modules.in_order
}

#[derive(Default)]
struct Modules {
    in_order: Vec<String>,
    /// With those that are being followed: modules may import each other in a circle.
    seen: HashSet<String>,
}

impl Modules {
    /// The module and all that it imports, to the last.
    fn follow(&mut self, path: &str) {
        if !self.seen.insert(path.to_owned()) {
            return;
        }
        let Some(module) = read(path) else {
            return;
        };
        for import in imports(path, &String::from_utf8_lossy(&module)) {
            self.follow(&import);
        }
        self.in_order.push(path.to_owned());
    }
}

/// What a module imports before it runs; `import(…)` is later.
fn imports(path: &str, text: &str) -> Vec<String> {
    let starts = ["import ", "} from ", "export * from "];
    text.lines()
        .filter(|line| starts.iter().any(|start| line.starts_with(start)))
        .filter_map(|line| resolve(path, line.split('\'').nth(1)?))
        .collect()
}

/// The file that `address` names in the file `from`; `None` where it is none of ours.
pub(super) fn resolve(from: &str, address: &str) -> Option<String> {
    let address = address.split(['#', '?']).next().unwrap_or_default();
    if let Some(path) = address.strip_prefix('/') {
        return address.starts_with(PREFIX).then(|| path.to_owned());
    }
    if !address.starts_with("./") && !address.starts_with("../") {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in address.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
