# SPDX-License-Identifier: Apache-2.0
"""Why a line was not run, as far as its text and the condition above it tell; for the list in
build/report/coverage.txt."""

import re

# In this order; the first that fits is the reason.
REASONS = (
    (
        "memory",
        "memory, descriptors or another such thing ran out",
        re.compile(
            r"ENOMEM|out_?of_?memory|out of memory|[cm]alloc\(|realloc\(|strn?dup\(|asprintf|EMFILE|ENFILE|"
            r"json_(?:object|array|string|integer|pack|sprintf)|"
            r"(?:BIO|EVP|SSL|X509|HMAC|OSSL|BN|EC|RSA)\w*_new|"
            r"curl_easy_init|seccomp_init|\w+_(?:new|create|reserve|grow|copy|append|push)\("
        ),
    ),
    (
        "system",
        "a call into the system or a library failed that never failed here",
        re.compile(
            r"ESYS|errno|<\s*0\b|==\s*-1\b|!=\s*0\)|SQLITE_|sqlite3_|ldns_|uv_\w+\(|ARES_|ares_|"
            r"EVP_|SSL_|ERR_|X509_|OPENSSL|CURL|ssh_|SSH_|gai_|rc != |LDNS_STATUS|fcntl|setsockopt|fstat|"
            r"open\(|prctl|getrandom|RAND_bytes|EINTR|EAGAIN|fsync|MAP_FAILED|perror"
        ),
    ),
    (
        "child",
        "between fork and exec, or after _exit: such a process counts nothing",
        re.compile(
            r"\bexec[lv]p?e?\(|\b_exit\(|setsid\(|\bset_route\(|\bset\(\"|"
            r"system_restore_limits|SIGKILL|SIG_DFL"
        ),
    ),
    (
        "limit",
        "a limit that is not reached, or a number that would overflow",
        re.compile(
            r"_MAX\b|_CAP\b|MAX_|LIMIT|overflow|ENOSPC|"
            r"too[ _](?:many|long|large|big)|ERANGE|trunc|sizeof|DNS_FLAG_TC|timer->data|give_up|evict|wanted"
        ),
    ),
    (
        "words",
        "what is said of one mistake more, of a rare state, or a name for people",
        re.compile(
            r"(?:diag_fail|conf_fail|fail_at|complain|refuse|problem_\w+|reply_\w+|"
            r"control_reply_error|fail_usage|fprintf|printf|puts|fputs|log_\w+|say_\w+|say|"
            r"set_reason|put|plain|fail|finish)\(|return \"|\bcase \w+:|\bdefault:|^\s*[?:] \""
        ),
    ),
    (
        "passed on",
        "hands on an error of the above, or cleans up after it",
        re.compile(
            r"if \(!?(?:err|rc|ok|status|failed)\b|goto |"
            r"return (?:err|rc|status|NULL|false|true|-1|0|1|SMPL_\w+|smpl_\w+\(.*\));|^\s*(?:err|rc) = |"
            r"free\(|close\w*\(|decref|unlink|^\s*return;|_kill\(|unref\(",
            re.M,
        ),
    ),
)
OTHER = ("other", "a state that no test of this run brings about")
LEAVES = re.compile(r"\s*(?:return|goto|break|continue|\})")
OPENS = re.compile(r"\b(?:if|while|for|switch|case|default|else)\b|^\w+:|^[a-z].*\)$")


def condition(source, n):
    """The line, what decides that it is run, and the line above that (which makes what is tested), as one
    text."""
    at = n - 1
    lines = [source[at]]
    for above in range(at - 1, max(-1, at - 8), -1):
        lines.append(source[above])
        if OPENS.search(source[above]):
            if above > 0 and not LEAVES.match(source[above - 1]):
                lines.append(source[above - 1])
            break
    return "\n".join(reversed(lines))


def reason(source, n):
    """The name of the reason why line n (from 1) of the source's lines was not run."""
    text = condition(source, n)
    return next((name for name, _, pattern in REASONS if pattern.search(text)), OTHER[0])
