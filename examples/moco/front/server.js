// SPDX-License-Identifier: Apache-2.0
//
// The front: one page, with this version's title and colour.
'use strict';
const fs = require('fs');
const { Refused, send, serve } = require('./serve.js');
const version = require('./version.js');

const page = fs.readFileSync('/srv/page.html', 'utf8').replace(/\{(title|colour|version)\}/g, (_, name) => version[name]);

serve(3000, async (request, response, url) => {
  if (request.method !== 'GET' && request.method !== 'HEAD') throw new Refused(405, 'the page is only to be read');
  if (url.pathname === '/') send(response, 200, page, { 'Content-Type': 'text/html; charset=utf-8' });
  else if (url.pathname === '/health' || url.pathname === '/status') send(response, 200, { ok: true, version: version.version });
  else throw new Refused(404, 'no such page');
});
