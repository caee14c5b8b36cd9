# SPDX-License-Identifier: Apache-2.0
"""smpl-app backup, restore and resend, as an operator runs them."""

import os
import re
import resource as limits
import signal
import sqlite3
import stat
import subprocess

import pytest

import kit
from app_client import Customer, Writer, call, config, services


@pytest.fixture
def product(work, spawn):
    product = services(work, spawn, services=())
    for service in ("accounts", "config", "flags"):
        product.write_service(service)
    text = (work / "accounts.yaml").read_text()
    (work / "elsewhere").mkdir()
    (work / "accounts.yaml").write_text(text + "revocations: elsewhere/revoked\n")
    product.services = ["accounts", "config", "flags"]
    for service in product.services:
        product.start(service)
    return product


def tool(work, *argv, **kw):
    return subprocess.run(
        [kit.binary("smpl-app"), *map(str, argv)],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=kit.PATIENCE,
        **kw,
    )


def done(work, *argv):
    result = tool(work, *argv)
    assert result.returncode == 0 and result.stderr == "", result
    return result.stdout


def refused(work, *argv, **kw):
    """The one line that says why, and what was there stays as it was."""
    before = {p.name: p.read_bytes() for p in work.glob("*.db*") if not p.name.endswith((".lock", "-shm"))}
    result = tool(work, *argv, **kw)
    after = {p.name: p.read_bytes() for p in work.glob("*.db*") if not p.name.endswith((".lock", "-shm"))}
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result
    assert before == after
    return result.stderr


def rows(path, sql="SELECT id FROM configs WHERE id <> 'common' ORDER BY id"):
    db = sqlite3.connect(path)
    try:
        return [row[0] for row in db.execute(sql)]
    finally:
        db.close()


def identity(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT id, epoch FROM database_identity").fetchone()
    finally:
        db.close()


def test_a_backup_under_writes_is_the_state_of_one_moment(product, work):
    customer = Customer(product)
    writers = [Writer(product, customer.key, f"w{i}") for i in range(4)]
    for w in writers:
        w.start()
    kit.wait_until(lambda: sum(len(w.acknowledged) for w in writers) > 20, "they write")
    before = [dict(w.acknowledged) for w in writers]
    text = done(work, "backup", "-c", "config.yaml", "copy")
    product.programs["config"].kill9()
    for w in writers:
        w.join(kit.PATIENCE)
    assert "checked" in text and identity(work / "copy")[0] in text
    assert stat.S_IMODE((work / "copy").stat().st_mode) == 0o600
    assert rows(work / "copy", "PRAGMA integrity_check") == ["ok"]
    ids = set(rows(work / "copy"))
    for w, known in zip(writers, before):
        mine = sorted((i for i in ids if i.startswith(w.name_)), key=lambda i: int(i.split("-")[1]))
        assert set(known) <= set(mine), "what was acknowledged before is in it"
        assert mine == [f"{w.name_}-{n}" for n in range(len(mine))], "and nothing without what came before it"
    assert not list(work.glob("copy.*")) and not list(work.glob("copy-*"))


def test_a_backup_replaces_only_an_earlier_one_and_only_when_told_to(product, work):
    (work / "copy").write_text("precious")
    assert "copy: there already; --force replaces it" in refused(work, "backup", "-c", "config.yaml", "copy")
    assert "not a backup of the config service" in refused(
        work, "backup", "-c", "config.yaml", "--force", "copy"
    )
    assert (work / "copy").read_text() == "precious"
    (work / "copy").unlink()
    done(work, "backup", "-c", "config.yaml", "copy")
    done(work, "backup", "-c", "config.yaml", "--force", "copy")
    assert rows(work / "copy") == []
    for name in ("config.yaml", "accounts.db", "elsewhere/revoked"):
        assert "not a backup of the config service" in refused(
            work, "backup", "-c", "config.yaml", "--force", name
        )
    (work / "copy.lock").touch()  # as beside the database of another installation
    assert "a service's database, not a backup" in refused(
        work, "backup", "-c", "config.yaml", "--force", "copy"
    )
    (work / "copy.lock").unlink()
    nameless = tool(work, "backup", "-c", "config.yaml", "")
    assert nameless.returncode == 2 and "an empty name after backup" in nameless.stderr, nameless
    for name in ("config.db", "config.db-wal", "config.db.lock"):
        assert "that is the database itself" in refused(work, "backup", "-c", "config.yaml", "--force", name)
    (work / "link").symlink_to("copy")
    assert "not a regular file" in refused(work, "backup", "-c", "config.yaml", "--force", "link")
    (work / "left.partial").write_text("of a backup that was killed")
    done(work, "backup", "-c", "config.yaml", "left")
    assert not (work / "left.partial").exists()


def test_a_full_disk_and_an_interrupt_leave_no_part_of_a_backup(product, work):
    small = lambda: limits.setrlimit(limits.RLIMIT_FSIZE, (8192, 8192))
    assert "no room left" in refused(work, "backup", "-c", "config.yaml", "copy", preexec_fn=small)

    def interrupt():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    stopped = tool(work, "backup", "-c", "config.yaml", "copy", preexec_fn=interrupt)
    assert stopped.returncode == 130 and "given up" in stopped.stderr, stopped
    assert not list(work.glob("copy*"))
    product.programs["config"].stop()
    done(work, "backup", "-c", "config.yaml", "good")
    before = (work / "config.db").read_bytes()
    stopped = tool(work, "restore", "-c", "config.yaml", "good", preexec_fn=interrupt)
    assert stopped.returncode == 130 and "the database is as it was" in stopped.stderr, stopped
    assert "File too large" in refused(work, "restore", "-c", "config.yaml", "good", preexec_fn=small)
    assert (work / "config.db").read_bytes() == before
    (work / "config.db").rename(work / "kept.db")
    (work / "config.db").mkdir()
    assert "not a regular file" in tool(work, "restore", "-c", "config.yaml", "good").stderr
    (work / "config.db").rmdir()
    (work / "kept.db").rename(work / "config.db")
    assert sorted(p.name for p in work.glob("config.db*")) == ["config.db", "config.db.lock"]


def test_a_restored_sister_has_the_backups_state_and_is_told_what_it_misses(product, work):
    early = Customer(product, "Early")
    assert early("POST", "config", "/configs", config("kept")).status == 201
    done(work, "backup", "-c", "config.yaml", "copy")
    late = Customer(product, "Late")
    assert early("POST", "config", "/configs", config("later")).status == 201
    product.programs["config"].stop()
    before = identity(work / "config.db")
    text = done(work, "restore", "-c", "config.yaml", "copy")
    aside = re.search(r"(config\.db\.before-\S+): what was there before", text).group(1)
    assert rows(work / aside) == ["kept", "later"] and rows(work / "config.db") == ["kept"]
    assert stat.S_IMODE((work / "config.db").stat().st_mode) == 0o600
    now = identity(work / "config.db")
    assert now[0] == before[0] and now[1] != before[1]
    product.start("config")
    assert early("GET", "config", "/configs/kept").status == 200
    assert early("GET", "config", "/configs/later").status == 404
    kit.wait_until(lambda: late("GET", "config", "/configs").status == 200, "the newer account is told again")


def test_no_instance_may_run_during_a_restore(product, work):
    done(work, "backup", "-c", "config.yaml", "copy")
    text = (
        (work / "config.yaml")
        .read_text()
        .replace("127.10.1.11:", "127.10.1.21:")
        .replace("127.20.1.11:", "127.20.1.21:")
    )
    (work / "second.yaml").write_text(text)
    second = product.spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    for program in (product.programs["config"], second):
        result = tool(work, "restore", "-c", "config.yaml", "copy")
        assert result.returncode == 1 and "stop every instance" in result.stderr, result
        program.kill9()
    lock = open(work / "config.db.lock")
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_EX)
    start = tool(work, "-c", "config.yaml")
    assert start.returncode == 1 and "it is being restored" in start.stderr, start
    lock.close()
    done(work, "restore", "-c", "config.yaml", "copy")
    product.start("config")


def test_a_wrong_file_is_one_clear_error_and_changes_nothing(product, work):
    Customer(product)
    for service in ("accounts", "config"):
        done(work, "backup", "-c", f"{service}.yaml", f"{service}.copy")
        product.programs[service].stop()
    (work / "text").write_text("not a database, but long enough to be one" * 100)
    (work / "empty").write_bytes(b"")
    with sqlite3.connect(work / "foreign") as db:
        db.execute("CREATE TABLE t (a)")
    newer = work / "newer"
    newer.write_bytes((work / "config.copy").read_bytes())
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 999")
    broken = bytearray((work / "config.copy").read_bytes())
    broken[4096 : 4096 + 2000] = b"\xff" * 2000
    (work / "broken").write_bytes(broken)
    cases = {
        "text": "not a database",
        "empty": "empty database",
        "foreign": "not of smpl-app",
        "newer": "newer smpl-app (schema 999",
        "accounts.copy": "a database of the accounts service, not of the config service",
        "broken": "",
        "missing": "No such file",
        "config.db": "that is the database itself",
        ".": "not a regular file",
    }
    for name, why in cases.items():
        assert why in refused(work, "restore", "-c", "config.yaml", name), name
    assert "only the account service" in refused(
        work, "restore", "-c", "config.yaml", "--trust-keys", "config.copy"
    )
    for argv in (
        ["backup", "-c", "config.yaml"],
        ["backup", "out"],
        ["restore", "-c", "config.yaml"],
        ["restore", "-c", "config.yaml", "--force", "a"],
        ["backup", "-c", "config.yaml", "a", "b"],
        ["resend", "-c"],
    ):
        assert tool(work, *argv).returncode == 2, argv


def test_a_database_that_is_lost_or_corrupt_is_replaced_and_what_was_there_is_kept(product, work):
    customer = Customer(product)
    assert customer("POST", "config", "/configs", config("kept")).status == 201
    done(work, "backup", "-c", "config.yaml", "copy")
    product.programs["config"].kill9()  # its journal stays
    (work / "config.db").write_bytes(b"\xff" * 8192)
    journal = (work / "config.db-wal").read_bytes()
    (work / "config.db-wal").write_bytes(b"junk" * 100)
    text = done(work, "restore", "-c", "config.yaml", "copy")
    aside = re.search(
        r"(config\.db\.before-\S+): what was there before, which could not be read", text
    ).group(1)
    assert (work / aside).read_bytes() == b"\xff" * 8192 and (
        work / f"{aside}-wal"
    ).read_bytes() == b"junk" * 100
    assert rows(work / "config.db") == ["kept"]
    (work / "config.db").unlink()
    (work / "config.db-wal").write_bytes(journal)  # of another state: must not be taken for the new one's
    done(work, "restore", "-c", "config.yaml", "copy")
    assert rows(work / "config.db") == ["kept"]
    product.start("config")
    assert customer("GET", "config", "/configs/kept").status == 200


def new_key(customer, name):
    reply = customer(
        "POST", "accounts", "/api_keys", {"data": {"type": "api_key", "attributes": {"name": name}}}
    )
    assert reply.status == 201, reply
    return reply.json["data"]["id"], reply.attributes["key"]


def works(product, key, service="accounts"):
    path = "/api/v1/accounts/current" if service == "accounts" else "/api/v1/configs"
    return call(product, service, "GET", path, key=key).status == 200


def test_a_key_revoked_after_the_backup_stays_revoked(product, work):
    customer, gone = Customer(product), Customer(product, "Gone")
    revoked, deleted = new_key(customer, "revoked"), new_key(customer, "deleted")
    done(work, "backup", "-c", "accounts.yaml", "copy")
    assert customer("POST", "accounts", f"/api_keys/{revoked[0]}/actions/revoke").status == 200
    assert customer("DELETE", "accounts", f"/api_keys/{deleted[0]}").status == 204
    assert (
        call(product, "accounts", "DELETE", f"/internal/v1/accounts/{gone.id}", internal=True).status == 204
    )
    lines = (work / "elsewhere" / "revoked").read_text().splitlines()
    assert [line.split()[2:] for line in lines[1:]] == [
        ["key", revoked[0]],
        ["key", deleted[0]],
        ["account", gone.id],
    ]
    assert stat.S_IMODE((work / "elsewhere" / "revoked").stat().st_mode) == 0o600
    product.programs["accounts"].kill9()
    assert "revocations since the backup: 3 keys and accounts" in done(
        work, "restore", "-c", "accounts.yaml", "copy"
    )
    product.start("accounts")
    assert works(product, customer.key) and works(product, customer.key, "config")
    for key in (revoked[1], deleted[1], gone.key):
        assert not works(product, key)
    kit.wait_until(
        lambda: call(product, "config", "GET", f"/internal/v1/accounts/{gone.id}", internal=True).status
        == 404,
        "the sisters stay told",
    )
    another = new_key(customer, "another")  # lines go on where they ended
    assert customer("DELETE", "accounts", f"/api_keys/{another[0]}").status == 204
    assert (work / "elsewhere" / "revoked").read_text().splitlines()[-1].split()[::3] == ["4", another[0]]


@pytest.mark.parametrize("how", ["missing", "another", "behind", "unnamed"])
def test_without_its_revocations_a_restore_disables_the_backups_keys_until_they_are_trusted(
    product, work, how
):
    customer = Customer(product)
    old = new_key(customer, "old")
    assert customer("DELETE", "accounts", f"/api_keys/{old[0]}").status == 204
    done(work, "backup", "-c", "accounts.yaml", "copy")
    product.programs["accounts"].stop()
    file = work / "elsewhere" / "revoked"
    lines = file.read_text().splitlines(keepends=True)
    text = (work / "accounts.yaml").read_text()
    if how == "missing":
        file.unlink()
    elif how == "another":
        file.write_text(
            lines[0].replace(lines[0].split()[-1], "11111111-2222-4333-8444-555555555555") + lines[1]
        )
    elif how == "behind":
        file.write_text(lines[0])
    else:
        (work / "accounts.yaml").write_text(text.replace("revocations: elsewhere/revoked\n", ""))
    said = done(work, "restore", "-c", "accounts.yaml", "copy")
    assert "all API keys of the backup are disabled" in said and "smpl-app restore --trust-keys" in said
    if how == "another":
        start = tool(work, "-c", "accounts.yaml")
        assert start.returncode == 1 and "of another database" in start.stderr, start
        file.unlink()
    product.start("accounts")
    assert not works(product, customer.key)
    assert "1 API keys are disabled" in tool(work, "check", "-c", "accounts.yaml").stdout
    assert (
        "1 API keys are disabled"
        in call(product, "accounts", "GET", "/internal/v1/ready", internal=True).text
    )
    assert "smpl_app_keys_disabled 1\n" in product.curl("127.10.1.10", "/internal/v1/metrics")[1]
    fresh = call(
        product,
        "accounts",
        "POST",
        f"/internal/v1/accounts/{customer.id}/api_keys",
        {"data": {"type": "api_key", "attributes": {"name": "fresh"}}},
        internal=True,
    )
    assert works(product, fresh.attributes["key"])
    assert done(work, "restore", "-c", "accounts.yaml", "--trust-keys") == "1 API keys are enabled again\n"
    assert works(product, customer.key)
    assert "notices" not in call(product, "accounts", "GET", "/internal/v1/ready", internal=True).json


def test_keys_that_are_trusted_at_once_are_not_disabled(product, work):
    customer = Customer(product)
    done(work, "backup", "-c", "accounts.yaml", "copy")
    product.programs["accounts"].stop()
    (work / "elsewhere" / "revoked").unlink()
    assert "as --trust-keys asks" in done(work, "restore", "-c", "accounts.yaml", "--trust-keys", "copy")
    product.start("accounts")
    assert works(product, customer.key)


def test_an_account_service_that_lost_its_database_does_not_begin_anew_over_its_revocations(product, work):
    Customer(product)
    product.programs["accounts"].stop()
    for tail in ("", "-wal", "-shm"):
        (work / f"accounts.db{tail}").unlink(missing_ok=True)
    start = tool(work, "-c", "accounts.yaml")
    assert start.returncode == 1 and "elsewhere/revoked: of another database" in start.stderr, start


def test_a_revocation_takes_effect_although_its_file_cannot_be_written_and_its_line_follows(product, work):
    customer = Customer(product)
    key = new_key(customer, "leaked")
    file = work / "elsewhere" / "revoked"
    file.rename(work / "hidden")
    assert customer("POST", "accounts", f"/api_keys/{key[0]}/actions/revoke").status == 200
    assert not works(product, key[1])
    assert "smpl_app_revocations_unwritten 1\n" in product.curl("127.10.1.10", "/internal/v1/metrics")[1]
    assert "1 revocation" in call(product, "accounts", "GET", "/internal/v1/ready", internal=True).text
    with (work / "hidden").open("a") as f:
        f.write("7 2026-01-01T00:00:00.000Z ke")  # torn by a crash
    (work / "hidden").rename(file)
    kit.wait_until(
        lambda: any(line.endswith(key[0]) for line in file.read_text().splitlines()), "the line follows"
    )
    kit.wait_until(
        lambda: "smpl_app_revocations_unwritten 0\n"
        in product.curl("127.10.1.10", "/internal/v1/metrics")[1],
        "all is written",
    )
    product.programs["accounts"].stop()
    file.unlink()  # lost: written anew from the database
    product.start("accounts")
    kit.wait_until(
        lambda: any(line.endswith(key[0]) for line in file.read_text().splitlines()),
        "the line is there again",
    )


def test_an_account_database_put_back_by_hand_learns_what_was_revoked_since(product, work):
    """Not by restore, which would have done the same: at the next start."""
    customer = Customer(product)
    leaked = new_key(customer, "leaked")
    done(work, "backup", "-c", "accounts.yaml", "copy")
    assert customer("POST", "accounts", f"/api_keys/{leaked[0]}/actions/revoke").status == 200
    product.programs["accounts"].stop()
    (work / "accounts.db").write_bytes((work / "copy").read_bytes())
    program = product.start("accounts")
    assert not works(product, leaked[1]) and works(product, customer.key)
    assert (
        "the database is older than" in program.stderr
        and "1 keys and accounts are revoked again" in program.stderr
    )


def test_resend_tells_a_sister_of_all_accounts_again(product, work):
    customer = Customer(product)
    product.programs["flags"].stop()
    with sqlite3.connect(work / "flags.db") as db:
        db.execute("DELETE FROM tenants")  # what nothing notices by itself
    product.start("flags")
    assert customer("GET", "flags", "/flags").status == 503
    assert "no sister nobody" in refused_resend(work, "nobody")
    assert "told of 1 accounts again" in done(
        work, "resend", "-c", "accounts.yaml", "flags.internal.smplkit.local"
    )
    kit.wait_until(lambda: customer("GET", "flags", "/flags").status == 200, "it is told again")
    assert done(work, "resend", "-c", "accounts.yaml").count("told of 1 accounts again") == 2
    result = tool(work, "resend", "-c", "flags.yaml")
    assert result.returncode == 1 and "only the account service" in result.stderr


def refused_resend(work, name):
    result = tool(work, "resend", "-c", "accounts.yaml", name)
    assert result.returncode == 1, result
    return result.stderr


def test_check_lists_accounts_that_only_sisters_know(product, work):
    lost = "d290f1ee-6c54-4b01-90e6-d701748f0851"
    put = call(
        product,
        "config",
        "PUT",
        f"/internal/v1/accounts/{lost}",
        {"data": {"type": "account", "attributes": {"name": "Lost", "key": "lost"}}},
        internal=True,
    )
    assert put.status == 201
    product.programs["accounts"].stop()
    product.start("accounts")
    line = (
        f"warning: http://config.internal.smplkit.local knows 1 account that this database does not: {lost}"
    )
    kit.wait_until(
        lambda: line in tool(work, "check", "-c", "accounts.yaml").stdout, "the lists are compared"
    )
