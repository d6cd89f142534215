use socklab_core::wire::Escaped;

/// Returns text as one line that is safe to write to a terminal or a log.
///
/// Control characters and bytes that are not UTF-8 are escaped. A tab is kept. [`Escaped`] also keeps a newline, so
/// that is escaped here.
pub(crate) fn one_line(text: impl AsRef<[u8]>) -> String {
    Escaped(text.as_ref()).to_string().replace('\n', "\\n")
}
