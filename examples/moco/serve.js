// SPDX-License-Identifier: Apache-2.0
//
// An HTTP server that a deploy can replace: it says which version answers, and at SIGTERM it finishes what it has begun.
'use strict';
const http = require('http');
const { version } = require('./version.js');

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The whole body, at most `max` bytes. */
async function readBody(request, max) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > max) throw new Refused(413, `more than ${max} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function send(response, status, body, headers = {}) {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body) + '\n');
  const type = Buffer.isBuffer(body) || typeof body === 'string' ? {} : { 'Content-Type': 'application/json' };
  response.writeHead(status, { ...type, 'Content-Length': bytes.length, ...headers });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}

/** handle(request, response, url) answers, or throws: a Refused with its status, all else as 500. */
function serve(port, handle) {
  let stopping = false;
  const server = http.createServer(async (request, response) => {
    response.setHeader('X-Version', version);
    if (stopping) response.setHeader('Connection', 'close');
    try {
      await handle(request, response, new URL(request.url, 'http://localhost'));
    } catch (error) {
      const status = error instanceof Refused ? error.status : 500;
      if (status === 500) console.error(`${request.method} ${request.url}: ${error.stack}`);
      if (response.headersSent) return response.destroy();
      // What is left of a body that nobody reads would be taken for the next request.
      send(response, status, { ok: false, error: error.message }, request.complete ? {} : { Connection: 'close' });
    }
  });
  // Longer than the edge keeps its own connections, so that it is never the server that ends one.
  server.keepAliveTimeout = 75000;
  process.on('SIGTERM', () => {
    stopping = true;
    server.close(() => process.exit(0));
    // Those that had promised to be kept before.
    setInterval(() => server.closeIdleConnections(), 50);
  });
  server.listen(port, () => console.log(`version ${version} is ready`));
}

module.exports = { Refused, readBody, send, serve };
