//! Error codes of Windows with the texts of Linux.

/// A program that has a file open may forbid others to use it. Linux has no such error.
pub(crate) const IN_USE: &str = "another program has it open; close it there";

/// Returns the text that Linux has for the meaning of an error code of Windows; `None` if it has none, or
/// users do not meet it.
pub(crate) const fn text(code: i32) -> Option<&'static str> {
    Some(match code {
        // File, path, drive; path and name of a share.
        2 | 3 | 15 | 53 | 67 => "no such file or directory",
        4 | 10024 => "too many open files",
        5 | 10013 => "permission denied",
        6 | 10009 => "bad file descriptor",
        8 | 14 => "cannot allocate memory",
        17 => "invalid cross-device link",
        19 => "read-only file system",
        21 => "the device is not ready",
        32 | 33 => IN_USE,
        39 | 112 => "no space left on device",
        80 | 183 => "file exists",
        87 | 10022 => "invalid argument",
        // The reading end of a pipe is closed: broken, being closed, no process at the other end.
        109 | 232 | 233 => "broken pipe",
        123 | 161 => "not a valid file name",
        145 => "directory not empty",
        206 => "file name too long",
        223 => "file too large",
        267 => "not a directory",
        336 => "is a directory",
        1117 => "input/output error",
        1295 => "disk quota exceeded",
        1921 => "too many levels of symbolic links",
        10004 => "interrupted system call",
        10035 => "resource temporarily unavailable",
        10047 => "address family not supported by protocol",
        10048 => "address already in use",
        10049 => "cannot assign requested address",
        10050 => "network is down",
        10051 | 1231 => "network is unreachable",
        10052 => "network dropped connection on reset",
        10053 => "software caused connection abort",
        10054 => "connection reset by peer",
        10055 => "no buffer space available",
        10057 => "transport endpoint is not connected",
        10058 => "cannot send after transport endpoint shutdown",
        10060 => "connection timed out",
        10061 => "connection refused",
        10064 => "host is down",
        10065 | 1232 => "no route to host",
        11001 => "name or service not known",
        11002 => "temporary failure in name resolution",
        11003 => "non-recoverable failure in name resolution",
        11004 => "no address associated with hostname",
        _ => return None,
    })
}

/// Only where the system has the texts of Linux: they are those of glibc.
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_linux() {
        use rustix::io::Errno;
        for (code, errno) in [
            (2, Errno::NOENT),
            (5, Errno::ACCESS),
            (80, Errno::EXIST),
            (112, Errno::NOSPC),
            (109, Errno::PIPE),
            (145, Errno::NOTEMPTY),
            (206, Errno::NAMETOOLONG),
            (223, Errno::FBIG),
            (267, Errno::NOTDIR),
            (336, Errno::ISDIR),
            (1117, Errno::IO),
            (1295, Errno::DQUOT),
            (1921, Errno::LOOP),
            (4, Errno::MFILE),
            (6, Errno::BADF),
            (8, Errno::NOMEM),
            (17, Errno::XDEV),
            (19, Errno::ROFS),
            (87, Errno::INVAL),
            (10004, Errno::INTR),
            (10035, Errno::AGAIN),
            (10047, Errno::AFNOSUPPORT),
            (10048, Errno::ADDRINUSE),
            (10049, Errno::ADDRNOTAVAIL),
            (10050, Errno::NETDOWN),
            (10051, Errno::NETUNREACH),
            (10052, Errno::NETRESET),
            (10053, Errno::CONNABORTED),
            (10054, Errno::CONNRESET),
            (10055, Errno::NOBUFS),
            (10057, Errno::NOTCONN),
            (10058, Errno::SHUTDOWN),
            (10060, Errno::TIMEDOUT),
            (10061, Errno::CONNREFUSED),
            (10064, Errno::HOSTDOWN),
            (10065, Errno::HOSTUNREACH),
        ] {
            let linux = crate::net::reason(&std::io::Error::from(errno));
            assert_eq!(text(code), Some(linux.as_str()), "{code}");
        }
        assert_eq!(text(0), None);
    }
}
