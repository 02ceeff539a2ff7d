// SPDX-License-Identifier: Apache-2.0
//
// The API: which path does what. JSON in and out, but for images.
'use strict';
const accounts = require('./accounts.js');
const uploads = require('./uploads.js');
const { query, tokens } = require('./store.js');
const { Refused, readBody, send, serve } = require('./serve.js');
const version = require('./version.js');

const NOBODY = 65534;
// The page comes from another host name, and nothing here depends on cookies.
const CORS = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Authorization, Content-Type' };

async function json(request) {
  try {
    return JSON.parse(await readBody(request, 64 * 1024) || '{}') || {};
  } catch (error) {
    if (error instanceof SyntaxError) throw new Refused(400, 'the body is no JSON');
    throw error;
  }
}

/** Does what this version does really work? What a deploy asks before it lets anybody in. */
async function status() {
  await tokens.ping();
  await query(version.profile + ' LIMIT 1');
  return { ok: true, version: version.version };
}

async function upload(request) {
  await accounts.authenticate(request);
  return uploads.save(await readBody(request, uploads.MAX_BYTES));
}

async function health() {
  await Promise.all([tokens.ping(), query('SELECT 1')]);
  return { ok: true };
}

const routes = {
  'GET /': () => ({ service: 'moco', version: version.version }),
  'GET /health': health,
  'GET /status': status,
  'POST /visits': async () => ({ visits: await tokens.incr('visits') }),
  'POST /register': async request => accounts.register(await json(request)),
  'POST /login': async request => accounts.login(await json(request)),
  'POST /refresh': async request => accounts.refresh(await json(request)),
  'POST /logout': async request => accounts.logout(request, await json(request)),
  'GET /me': accounts.me,
  'POST /uploads': upload,
};

async function handle(request, response, url) {
  for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
  if (request.method === 'OPTIONS') return send(response, 204, '');
  if (url.pathname.startsWith('/uploads/') && (request.method === 'GET' || request.method === 'HEAD')) {
    const { bytes, headers } = await uploads.load(url.pathname);
    return send(response, 200, bytes, headers);
  }
  const route = routes[`${request.method === 'HEAD' ? 'GET' : request.method} ${url.pathname}`];
  if (!route) throw new Refused(404, 'no such path');
  send(response, url.pathname === '/register' || (url.pathname === '/uploads') ? 201 : 200, await route(request));
}

async function main() {
  await uploads.prepare(NOBODY, NOBODY);
  process.setgroups([]);
  process.setgid(NOBODY);
  process.setuid(NOBODY);
  await tokens.connect();
  serve(3000, handle);
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
