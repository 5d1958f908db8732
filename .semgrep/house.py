"""Samples for the rules in house.yaml: what each must find (ruleid), and what it must leave alone (ok). Never run."""

import hmac
import logging
import os
import pickle
import ssl
import subprocess

# ruleid: guessable-secret
import random

# ruleid: redis-outside-store
import redis
# ruleid: redis-outside-store
from redis.asyncio import Redis

# ok: redis-outside-store
from twin_engine.store import server

_COLUMNS = "id, name"
log = logging.getLogger(__name__)


def connections(requests, context):
    # ruleid: tls-unverified
    requests.get("https://hub", verify=False)
    # ok: tls-unverified
    requests.get("https://hub", verify="ca.pem")
    # ruleid: tls-unverified
    context.check_hostname = False
    # ruleid: tls-unverified
    context.verify_mode = ssl.CERT_NONE


def decoders(data, yaml, torch):
    # ruleid: code-from-data
    pickle.loads(data)
    # ruleid: code-from-data
    eval(data)
    # ok: code-from-data
    yaml.safe_load(data)
    # ruleid: code-from-data
    torch.load(data)
    # ok: code-from-data
    torch.load(data, weights_only=True)


def database(db, name):
    # ruleid: sql-from-text
    db.execute(f"SELECT * FROM devices WHERE id = {name}")
    # ruleid: sql-from-text
    db.execute("SELECT * FROM devices WHERE id = " + name)
    # ok: sql-from-text
    db.execute(f"SELECT {_COLUMNS} FROM devices WHERE id = ?", (name,))
    # ok: sql-from-text
    db.execute("SELECT * FROM devices WHERE id = ?", (name,))


def logs(key, master, device, settings, password):
    # ruleid: secret-in-a-log
    log.info("sealing with %s", key)
    # ruleid: secret-in-a-log
    log.warning(f"signing in with {password}")
    # ruleid: secret-in-a-log
    log.error("redis at %s with %s", settings.url, settings.redis_password)
    # ruleid: secret-on-a-screen
    print(f"the master key is {master}")
    # ok: secret-in-a-log
    log.info("sealing for %s with key %s", device, device.kid)


def proofs(mac, key, data):
    # ruleid: digest-by-equals
    if mac == hmac.digest(key, data, "sha256"):
        return True
    # ok: digest-by-equals
    return hmac.compare_digest(mac, hmac.digest(key, data, "sha256"))


def children(name):
    # ruleid: shell
    subprocess.run(f"ls {name}", shell=True)
    # ruleid: shell
    os.system("ls")
    # ok: shell
    subprocess.run(["ls", name])


def identifiers():
    # ruleid: guessable-secret
    token = random.randbytes(16)
    # ok: guessable-secret
    return token, os.urandom(16)
