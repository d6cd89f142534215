//! Page of HTML that shows what happened: a summary, and sections with texts and [ladders](super::ladder).
//!
//! A page is one file without a script. It loads nothing, and its own policy forbids that. Every text is escaped.
//!
//! ```text
//! let mut page = Page::new("socklab check math server");
//! page.outcome(Mark::Fail, "1 of 12 cases failed");
//! let mut section = Section::new("math/server/basic/one");
//! section.verdict(Mark::Fail, "the answer is in the wrong byte order");
//! section.text("A server must send ...");
//! section.hint("use htonl");
//! section.code("output of the program", "Traceback ...");
//! section.ladder(&recording);
//! page.add(section);
//! page.write(&mut file)?;
//! ```

use std::fmt::{self, Write as _};
use std::io;

use socklab_core::wire::Escaped;

use super::ladder;
use super::recording::Recording;

const STYLE: &str = include_str!("page/style.css");
/// Explanation of a ladder.
const KEY: &str = include_str!("page/key.html");

/// Kind of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Pass,
    Fail,
    Skip,
    Info,
}

impl Mark {
    /// Returns the word for it, which is also its class in the style.
    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Info => "info",
        }
    }
}

/// A page.
pub(crate) struct Page {
    title: String,
    facts: Vec<String>,
    outcome: Option<(Mark, String)>,
    sections: Vec<Section>,
}

/// A part of a page.
pub(crate) struct Section {
    heading: String,
    verdict: Option<(Mark, String)>,
    is_open: bool,
    /// Number of recordings.
    ladders: usize,
    /// Finished HTML. [`ladder::SECTION`] stands for the id of the section.
    body: String,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), facts: Vec::new(), outcome: None, sections: Vec::new() }
    }

    /// Adds a short fact, which is shown below the title.
    pub(crate) fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(text.into());
    }

    /// Sets the result of everything.
    pub(crate) fn outcome(&mut self, mark: Mark, text: impl Into<String>) {
        self.outcome = Some((mark, text.into()));
    }

    /// Adds a section. If there are several with a verdict, the page starts with a table of them.
    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// The first error of `out`.
    pub(crate) fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let title = html(&self.title);
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{}</h1>\n",
            words(&self.title)
        )?;
        if !self.facts.is_empty() {
            out.write_all(b"<ul class=\"facts\">")?;
            for fact in &self.facts {
                write!(out, "<li>{}</li>", html(fact))?;
            }
            out.write_all(b"</ul>\n")?;
        }
        if let Some((mark, text)) = &self.outcome {
            writeln!(out, "<p class=\"outcome\">{}{}</p>", badge(*mark), html(text))?;
        }
        out.write_all(b"</header>\n")?;
        if self.sections.iter().any(|section| section.ladders > 0) {
            out.write_all(
                b"<input type=\"checkbox\" id=\"scale\"><label for=\"scale\">time to scale</label>\n",
            )?;
            out.write_all(KEY.as_bytes())?;
        }
        out.write_all(b"<main>\n")?;
        self.write_summary(out)?;
        for (number, section) in self.sections.iter().enumerate() {
            section.write(out, number + 1)?;
        }
        let version = env!("CARGO_PKG_VERSION");
        write!(out, "</main>\n<footer>written by socklab {version}</footer>\n</body>\n</html>\n")
    }

    /// Writes the table of the sections.
    fn write_summary(&self, out: &mut impl io::Write) -> io::Result<()> {
        let rows = || {
            let sections = self.sections.iter().enumerate();
            sections.filter_map(|(at, section)| Some((at + 1, section, section.verdict.as_ref()?)))
        };
        if rows().count() < 2 {
            return Ok(());
        }
        out.write_all(
            b"<div class=\"wide\"><table>\n<thead><tr><th>verdict</th><th>case</th><th>result</th></tr></thead>\n\
              <tbody>\n",
        )?;
        for (number, section, (mark, text)) in rows() {
            writeln!(
                out,
                "<tr><td class=\"mk\">{}</td><td class=\"id\"><a href=\"#s{number}\">{}</a></td><td>{}</td></tr>",
                badge(*mark),
                path(&section.heading),
                html(text)
            )?;
        }
        out.write_all(b"</tbody>\n</table></div>\n")
    }
}

impl Section {
    /// Returns an empty section. The heading may be empty if it is the only section.
    pub(crate) fn new(heading: impl Into<String>) -> Self {
        let heading = heading.into();
        Self { heading, verdict: None, is_open: true, ladders: 0, body: String::new() }
    }

    /// Sets the verdict and its reason in one line. A section that has passed or was skipped is folded.
    pub(crate) fn verdict(&mut self, mark: Mark, text: impl Into<String>) {
        self.is_open = matches!(mark, Mark::Fail | Mark::Info);
        self.verdict = Some((mark, text.into()));
    }

    /// Adds a paragraph. Newlines are kept.
    pub(crate) fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", html(text));
    }

    /// Adds a hint.
    pub(crate) fn hint(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"hint\"><b>hint</b> {}</p>", html(text));
    }

    /// Adds lines of code, output or bytes, with a label.
    pub(crate) fn code(&mut self, label: &str, text: &str) {
        let (label, text) = (html(label), html(text));
        let _ = writeln!(
            self.body,
            "<div class=\"code\"><span>{label}</span><pre tabindex=\"0\">{text}</pre></div>"
        );
    }

    /// Adds the ladders of the connections of a recording. It must be [finished](Recording::finish).
    pub(crate) fn ladder(&mut self, recording: &Recording) {
        self.ladders += 1;
        ladder::write(&mut self.body, recording, self.ladders);
    }

    fn write(&self, out: &mut impl io::Write, number: usize) -> io::Result<()> {
        write!(out, "<section id=\"s{number}\">")?;
        let heading = path(&self.heading);
        let badge = self.verdict.as_ref().map(|(mark, _)| badge(*mark)).unwrap_or_default();
        let text = self.verdict.as_ref().map(|(_, text)| text).filter(|text| !text.is_empty());
        let text = text.map(|text| format!("<p>{}</p>\n", html(text))).unwrap_or_default();
        let body = self.body.replace(ladder::SECTION, &format!("s{number}"));
        if self.heading.is_empty() {
            return writeln!(out, "{badge}{text}{body}</section>");
        }
        let open = if self.is_open { " open" } else { "" };
        writeln!(
            out,
            "<details{open}><summary>{badge}<h2>{heading}</h2></summary>\n{text}{body}</details></section>"
        )
    }
}

fn badge(mark: Mark) -> String {
    let word = mark.word();
    format!("<span class=\"mark {word}\">{word}</span>")
}

/// Returns a text for HTML, whose lines break only between words if possible.
fn words(text: &str) -> String {
    let words: Vec<_> =
        text.split(' ').map(|word| format!("<span>{}</span>", html(word))).collect();
    words.join(" ")
}

/// Returns a name with slashes for HTML. A line may break after each of them.
fn path(text: &str) -> String {
    html(text).to_string().replace('/', "/<wbr>")
}

/// Returns a text for HTML, as content or as an attribute in double quotes. Control characters, invisible characters
/// and those that change the direction of writing are escaped first, as for a terminal.
pub(super) fn html(text: &str) -> Html<'_> {
    Html(text)
}

/// See [`html`].
pub(super) struct Html<'t>(&'t str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Entities<'f, 'g>(&'f mut fmt::Formatter<'g>);
        impl fmt::Write for Entities<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| self.write_char(c))
            }

            fn write_char(&mut self, c: char) -> fmt::Result {
                match c {
                    '&' => self.0.write_str("&amp;"),
                    '<' => self.0.write_str("&lt;"),
                    '>' => self.0.write_str("&gt;"),
                    '"' => self.0.write_str("&quot;"),
                    '\'' => self.0.write_str("&#39;"),
                    c => self.0.write_char(c),
                }
            }
        }
        write!(Entities(f), "{}", Escaped(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Flow;
    use crate::ui::messages::dissectors;
    use crate::ui::recording::{Event, Observed};

    fn written(page: &Page) -> String {
        let mut out = Vec::new();
        page.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_of_a_check_has_a_table_that_links_to_its_sections() {
        let mut recording = Recording::new(Observed::Proxy, dissectors("hello", 4));
        recording.record(1, &Event::Moved(Flow::Up, b"hi\n"));
        recording.finish();

        let mut page = Page::new("socklab check hello server");
        page.fact("2 cases");
        page.outcome(Mark::Fail, "1 of 2 cases failed");
        let mut passed = Section::new("hello/server/basic/one");
        passed.verdict(Mark::Pass, "greeted");
        passed.ladder(&recording);
        page.add(passed);
        let mut failed = Section::new("hello/server/slow/pause");
        failed.verdict(Mark::Fail, "the greeting is wrong");
        failed.text("A server must greet <b>all</b> clients.");
        failed.hint("loop");
        failed.code("output of the program", "Traceback\n  line 3");
        page.add(failed);
        let page = written(&page);

        for part in [
            "<title>socklab check hello server</title>",
            "<li>2 cases</li>",
            "<span class=\"mark fail\">fail</span>1 of 2 cases failed</p>",
            "<a href=\"#s1\">hello/<wbr>server/<wbr>basic/<wbr>one</a></td><td>greeted</td>",
            "<section id=\"s1\"><details><summary><span class=\"mark pass\">",
            "<section id=\"s2\"><details open><summary><span class=\"mark fail\">",
            "&lt;b&gt;all&lt;/b&gt;",
            "<b>hint</b> loop</p>",
            "<span>output of the program</span><pre tabindex=\"0\">Traceback\n  line 3</pre>",
            "&quot;hi&quot;",
            "how to read the ladder",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(!page.contains("<script") && !page.contains(ladder::SECTION));
    }

    #[test]
    fn a_section_alone_needs_no_heading_and_no_table() {
        let mut page = Page::new("title");
        let mut section = Section::new("");
        section.text("text");
        page.add(section);
        let page = written(&page);
        assert!(page.contains("<section id=\"s1\"><p>text</p>"), "{page}");
        assert!(!page.contains("<table") && !page.contains("how to read"));
    }

    #[test]
    fn every_character_with_a_meaning_is_escaped() {
        let hostile = "<&>\"' \u{202e}\x1b\0\u{200b}";
        let expected = "&lt;&amp;&gt;&quot;&#39; \\u{202e}\\x1b\\x00\\u{200b}";
        assert_eq!(html(hostile).to_string(), expected);
        let mut page = Page::new(hostile);
        page.fact(hostile);
        page.outcome(Mark::Info, hostile);
        let mut section = Section::new(hostile);
        section.verdict(Mark::Skip, hostile);
        section.text(hostile);
        section.hint(hostile);
        section.code(hostile, hostile);
        page.add(section);
        // The title is split into words.
        assert_eq!(written(&page).matches(expected).count(), 9);
    }
}
