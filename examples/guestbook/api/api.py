#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The guestbook's API and page: entries in MariaDB, visits counted in Redis."""

import html
import os
import signal
import socket
import sys
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
MAX_BODY = 16 * 1024

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 1.1em/1.5 sans-serif; max-width: 40em; margin: 3em auto }} small {{ color: #777 }}</style>
<h1>{title}</h1>
<form method="post"><input name="name" placeholder="Your name" required maxlength="80">
<input name="text" placeholder="What you would like to say" required maxlength="500" size="40"> <button>Sign</button></form>
<ul>{entries}</ul>
<small>visit {visits}, served by {host}</small>
</html>
"""


class Store:
    """One connection to each data store per thread; a lost one is opened again at the next request."""

    local = threading.local()

    def db(self):
        import pymysql

        connection = getattr(self.local, "db", None)
        if connection is None:
            connection = self.local.db = pymysql.connect(
                host=os.environ["DB_HOST"], user=os.environ["DB_USER"], password=os.environ["DB_PASSWORD"],
                database="guestbook", charset="utf8mb4", autocommit=True, connect_timeout=3)
        connection.ping(reconnect=True)
        return connection

    def redis(self):
        import redis

        if not hasattr(self.local, "redis"):
            self.local.redis = redis.Redis(host=os.environ["REDIS_HOST"], socket_timeout=3)
        return self.local.redis

    def prepare(self):
        with self.db().cursor() as c:
            c.execute("SET sql_notes = 0")
            c.execute("CREATE TABLE IF NOT EXISTS entries (id INT AUTO_INCREMENT PRIMARY KEY,"
                      " name VARCHAR(80) NOT NULL, text VARCHAR(500) NOT NULL, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)")

    def entries(self):
        with self.db().cursor() as c:
            c.execute("SELECT name, text, at FROM entries ORDER BY id DESC LIMIT 50")
            return c.fetchall()

    def add(self, name, text):
        with self.db().cursor() as c:
            c.execute("INSERT INTO entries (name, text) VALUES (%s, %s)", (name, text))


store = Store()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def reply(self, status, text, **headers):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/health":
            store.redis().ping()
            store.db()
            return self.reply(200, "healthy\n")
        if self.path != "/":
            return self.reply(404, "no such page\n")
        entries = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)} <small>{at}</small>"
                          for name, text, at in store.entries())
        self.reply(200, PAGE.format(title=html.escape(os.environ["TITLE"]), entries=entries,
                                    visits=store.redis().incr("visits"), host=socket.gethostname()))

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            return self.reply(413, "too long\n", Connection="close")
        form = urllib.parse.parse_qs(self.rfile.read(length).decode(errors="replace"))
        name, text = (form.get(key, [""])[0].strip() for key in ("name", "text"))
        if not name or not text:
            return self.reply(400, "a name and a text, please\n")
        store.add(name[:80], text[:500])
        self.reply(303, "", Location="/")

    def log_message(self, form, *args):
        if self.path != "/health":
            print(self.headers.get("X-Forwarded-For", self.client_address[0]), form % args)


def probe():
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=4) as answer:
        return 0 if answer.status == 200 else 1


def main():
    if sys.argv[1:] == ["--probe"]:
        return probe()
    store.prepare()
    server = ThreadingHTTPServer(("", PORT), Handler)
    # shutdown() waits for serve_forever, so that it must not be called on its thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("ready")
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
