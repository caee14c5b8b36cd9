"""Why a line was not run, as far as its text and the condition above it tell; for the list in build/report/coverage.txt."""

import re

# In this order; the first that fits is the reason.
REASONS = (
    ("memory", "memory or descriptors ran out", re.compile(
        r"ENOMEM|out of memory|[cm]alloc\(|realloc\(|strn?dup\(|asprintf|memfd|EMFILE|ENFILE|json_(?:object|array|string|integer|pack|sprintf)|"
        r"(?:BIO|EVP|SSL|X509|HMAC|OSSL|BN|EC|RSA)\w*_new|curl_easy_init|seccomp_init|fy_\w+_create|\w+_(?:new|create|reserve|grow|copy|append|push)\(")),
    ("system", "a call into the system or a library failed, which did not fail here", re.compile(
        r"ESYS|errno|<\s*0\b|==\s*-1\b|!=\s*0\)|SQLITE_|ldns_|uv_\w+\(|ARES_|ares_|EVP_|SSL_|ERR_|X509_|OPENSSL|CURL|ssh_|SSH_|gai_|rc != |LDNS_STATUS|"
        r"fcntl|setsockopt|fstat|open\(|prctl|getrandom|RAND_bytes|EINTR|EAGAIN|fsync|MAP_FAILED")),
    ("limit", "a limit that no test of this run reaches, or a number that would overflow", re.compile(
        r"_MAX\b|_CAP\b|MAX_|LIMIT|overflow|ENOSPC|too (?:many|long|large|big)|ERANGE|truncat|sizeof")),
    ("passed on", "hands on an error of the above", re.compile(
        r"if \(!?(?:err|rc|ok|status|failed)\b|goto out|goto fail|return (?:err|rc|status|NULL|false|-1|0|1|SMPL_E\w+);|^\s*(?:err|rc) = ")),
)
OTHER = "other"
OPENS = re.compile(r"\b(?:if|while|for|switch|case|default|else)\b|^\w+:|^[a-z].*\)$")


def condition(source, n):
    """The line, what decides that it is run, and the one above that: as one text."""
    at = n - 1
    lines = [source[at]]
    for above in range(at - 1, max(-1, at - 8), -1):
        lines.append(source[above])
        if OPENS.search(source[above]):
            if above > 0:
                lines.append(source[above - 1])
            break
    return "\n".join(reversed(lines))


def reason(source, n):
    text = condition(source, n)
    return next((name for name, _, pattern in REASONS if pattern.search(text)), OTHER)
